"""A plain PyTorch script: DistributedDataParallel with gloo, as one writes it for torchrun.

ddp.py FOLDER [epochs] [pause]
"""

import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

STEPS = 5
folder = Path(sys.argv[1])
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 4
pause_s = float(sys.argv[3]) if len(sys.argv) > 3 else 0.05

dist.init_process_group("gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(1)
model = DistributedDataParallel(torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
first = 0
if path := os.environ.get("EFFNET_RESUME"):
    state = torch.load(path)
    model.module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    first = state["epochs"]
for epoch in range(first, epochs):
    for step in range(STEPS):
        data = torch.randn(
            4, 8, generator=torch.Generator().manual_seed(epoch * 100 + step * 10 + rank)
        )
        loss = (model(data) - data.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(pause_s)
        print(
            f"Epoch {epoch + 1}/{epochs} iter {step + 1}/{STEPS} loss={loss.item():.4f}", flush=True
        )
    if rank == 0:
        state = {
            "model": model.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epochs": epoch + 1,
        }
        torch.save(state, folder / "new.tmp")
        (folder / "new.tmp").replace(folder / f"epoch-{epoch + 1:03d}.pt")
total = sum(parameter.double().sum().item() for parameter in model.parameters())
print(f"weights {total:.12f}", flush=True)
dist.destroy_process_group()
