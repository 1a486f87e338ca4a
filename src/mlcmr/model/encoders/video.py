"""The video encoder: temporal (GRU), local (convolution) and global (mean frame) levels, concatenated."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from mlcmr.data.batches import VideoBatch
from mlcmr.errors import InvalidValueError
from mlcmr.model.config import VideoConfig


class VideoEncoder(nn.Module):
    """Encode frame features to one vector per video (multi-level encoding, Dong et al. 2019).

    Args:
        feature_size: d, the size of a frame feature.
        config: The settings.
        published_padding: Count padding like frames, as in the published code.
    """

    def __init__(self, feature_size: int, config: VideoConfig, *, published_padding: bool = False) -> None:
        super().__init__()
        self.config = config
        self.feature_size = feature_size
        self.published_padding = published_padding
        width = 2 * config.gru_size
        self.gru = nn.GRU(feature_size, config.gru_size, batch_first=True, bidirectional=True)
        # A convolution over time is a matrix product with the concatenated frames of each window: the same
        # numbers as the published 2-D convolution, in about 0.7 of its time on a CPU.
        self.convolutions = nn.ModuleList(
            nn.Linear(window * width, config.filters) for window in config.windows
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output_size = width + len(config.windows) * config.filters
        if config.concate == "full":
            self.output_size += feature_size

    def forward(self, videos: VideoBatch) -> Tensor:
        """Return the features of a batch of B videos, (B, output_size).

        Raises:
            InvalidValueError: If the frame features have another size than the model takes.
        """
        if videos.frames.shape[1] != self.feature_size:
            raise InvalidValueError(
                f"frame features have {videos.frames.shape[1]} numbers, the model takes {self.feature_size}: "
                "use the feature that the model was trained on"
            )
        lengths = videos.lengths.clamp(max=self.config.max_frames)
        dtype = next(self.gru.parameters()).dtype
        frames = self._padded(videos, lengths).to(dtype)
        real = torch.arange(frames.shape[1]) < lengths[:, None]
        real = real.to(frames.device)[:, :, None]
        states = self._gru_states(frames, lengths) * real
        levels = [self.dropout(self._pool(states, lengths)), self.dropout(self._local(states, lengths))]
        if self.config.concate == "full":
            levels.append(videos.means.to(dtype))
        return torch.cat(levels, dim=1)

    def _padded(self, videos: VideoBatch, lengths: Tensor) -> Tensor:
        whole = torch.split(videos.frames, videos.lengths.tolist())
        return pad_sequence(
            [video[:length] for video, length in zip(whole, lengths.tolist(), strict=True)], batch_first=True
        )

    def _gru_states(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return the outputs of the GRU, (B, T, 2·gru_size), meaningless behind the end of a video."""
        if self.published_padding:
            return self.gru(frames)[0]  # type: ignore[no-any-return]
        packed = pack_padded_sequence(frames, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0]

    def _pool(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Pool the outputs of the GRU, which are 0 behind the end of a video, to (B, 2·gru_size)."""
        if self.config.gru_pool == "mean":
            return states.sum(dim=1) / lengths.to(states)[:, None]
        if not self.published_padding:  # the published maximum includes those zeros
            past = torch.arange(states.shape[1]) >= lengths[:, None]
            states = states.masked_fill(past.to(states.device)[:, :, None], -torch.inf)
        return states.max(dim=1).values

    def _local(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Return the maximum over time of the response of each filter, (B, windows · filters)."""
        levels = []
        for convolution, window in zip(self.convolutions, self.config.windows, strict=True):
            padded = F.pad(states, (0, 0, window - 1, window - 1))
            positions = states.shape[1] + window - 1
            windows = torch.cat([padded[:, first : first + positions] for first in range(window)], dim=2)
            responses = F.relu(convolution(windows))  # (B, positions, filters)
            if not self.published_padding:
                # A window counts if it contains a real frame. After ReLU, 0 never exceeds a real response.
                real = torch.arange(positions) < (lengths + window - 1)[:, None]
                responses = responses * real.to(responses.device)[:, :, None]
            levels.append(responses.max(dim=1).values)
        return torch.cat(levels, dim=1)
