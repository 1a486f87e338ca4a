"""Search a folder of videos with a pretrained model, without training.

    pip install 'mlcmr[search]'
    python zero_shot_search.py ~/Videos "a dog catches a frisbee" "一只狗在接飞盘"

The first call downloads the model and indexes the videos. Later calls index only new videos.
"""

import sys

import mlcmr


def main(videos: str, queries: list[str], model: str | None = None) -> None:
    """Index a folder of videos and print the hits of each query, by the default model or another one."""
    summary = mlcmr.index(videos, "zero-shot-index", model=model)
    print(summary)

    searcher = mlcmr.Searcher("zero-shot-index")
    for query in queries:
        print(query)
        for hit in searcher.search(query, k=3):
            print(f"  {hit.score:.3f}  {hit.time_range}  {hit.path}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
