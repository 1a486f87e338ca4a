"""Files and arrays: captions, frame features, collections, scenarios, batches. No models."""
