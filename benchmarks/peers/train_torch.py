"""The seven workloads in PyTorch (`torch_models.py`): times the training step and prints one JSON line.

    PYTHON benchmarks/peers/train_torch.py mlp --seconds 4 [--compile | --channels-last]
    PYTHON -m torch.distributed.run --standalone --nproc-per-node 2 benchmarks/peers/train_torch.py mlp
    mpirun -np 2 PYTHON benchmarks/peers/train_torch.py mlp --horovod

Under torch.distributed.run: DistributedDataParallel over gloo. `docs/benchmarks.md` has the steps that build Horovod.
"""
from __future__ import annotations

import os
import pathlib
import sys
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import step_timing  # noqa: E402
import workload_inputs as inputs  # noqa: E402
from torch_models import MODELS  # noqa: E402


class Alone(step_timing.Alone):
    def distribute(self, model: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
        """The model and the optimizer whose gradients are the averages over the ranks."""
        return model, optimizer


class Gloo(Alone):
    def __init__(self) -> None:
        torch.distributed.init_process_group("gloo")
        self.rank, self.size = torch.distributed.get_rank(), torch.distributed.get_world_size()

    def broadcast_object(self, value: Any) -> Any:
        values = [value]
        torch.distributed.broadcast_object_list(values, 0)
        return values[0]

    def allgather_object(self, value: Any) -> list[Any]:
        values = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def distribute(self, model: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
        return nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True), optimizer


class Horovod(Alone):
    def __init__(self) -> None:
        import horovod.torch as hvd
        hvd.init()
        self.hvd, self.rank, self.size = hvd, hvd.rank(), hvd.size()

    def broadcast_object(self, value: Any) -> Any:
        return self.hvd.broadcast_object(value)

    def allgather_object(self, value: Any) -> list[Any]:
        return self.hvd.allgather_object(value)

    def distribute(self, model: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
        self.hvd.broadcast_parameters(model.state_dict(), root_rank=0)
        return model, self.hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())


def tensors(batch: tuple[Any, Any], channels_last: bool) -> tuple[Tensor, Tensor]:
    x, y = (torch.from_numpy(part) for part in batch)
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2)
        x = x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    return x, y.long() if y.dtype == torch.int32 else y


def main() -> None:
    parser = step_timing.arguments(__doc__)
    parser.add_argument("--compile", action="store_true", help="run the model by torch.compile")
    parser.add_argument("--channels-last", action="store_true", help="images and filters in that memory format")
    parser.add_argument("--horovod", action="store_true", help="several ranks by Horovod, under mpirun")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ranks = Horovod() if options.horovod else Gloo() if "WORLD_SIZE" in os.environ else Alone()
    build, loss_of, optimizer_of = MODELS[options.workload]
    model = build(inputs.initial_weights(options.workload))
    if options.channels_last:
        model = model.to(memory_format=torch.channels_last)
    model, optimizer = ranks.distribute(model, optimizer_of([p for p in model.parameters() if p.requires_grad]))
    if options.compile:
        model = torch.compile(model)
    batches = [tensors(batch, options.channels_last) for batch in inputs.batches(options.workload, ranks.rank)]
    taken = 0

    def step() -> float:
        nonlocal taken
        x, y = batches[taken % len(batches)]
        taken += 1
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    chosen = [name for name in ("compile", "channels_last", "horovod") if getattr(options, name)]
    step_timing.report("-".join(["torch", *chosen]), options.workload, step, options.seconds,
                       versions={"torch": torch.__version__}, ranks=ranks)
    if isinstance(ranks, Gloo):
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
