"""The images of one training, for the loop."""

import lightning
from torch.utils.data import DataLoader

from nbqnn_train.data import DataSets
from nbqnn_train.data.batches import ordered_loader, train_loader
from nbqnn_train.graph.errors import NbqnnError

__all__ = ["TrainingData"]

_VALIDATION_BATCH = 256


class TrainingData(lightning.LightningDataModule):
    """Batches of ``batch_size`` over all processes; each process loads its share.

    The accuracy after an epoch is that of the images held out, or of the test images if there are
    none.
    """

    def __init__(self, data: DataSets, batch_size: int, seed: int, flips: str):
        super().__init__()
        self.data = data
        self.batch_size = min(batch_size, len(data.train))
        self.seed = seed
        self.flips = flips

    def train_dataloader(self) -> DataLoader:
        return train_loader(
            self.data.train,
            self.batch_size,
            self.seed,
            margin=self.data.margin,
            flips=self.flips,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )

    def val_dataloader(self) -> DataLoader:
        return ordered_loader(
            self.data.test if self.data.validation is None else self.data.validation,
            _VALIDATION_BATCH,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )

    def check_world(self, world: int) -> None:
        """Raises :class:`NbqnnError` where ``world`` processes cannot share a batch equally."""
        if self.batch_size % world:
            raise NbqnnError(
                f"Batch size must be a multiple of {world} processes, not {self.batch_size}"
            )
