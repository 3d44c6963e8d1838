"""Programs that benchmarks/dashboard.py compares the dashboard with, as Python to be run."""

STOCK = """
from collections import deque
from textual.app import App
from textual.containers import Horizontal
from textual.widgets import DataTable, RichLog, Sparkline
import random
class Stock(App):
    CSS = "Sparkline { height: 14; width: 1fr; } Horizontal { height: 14; }"
    def compose(self):
        yield DataTable()
        with Horizontal():
            for _ in range(3):
                yield Sparkline([random.random() for _ in range(300)])
        yield RichLog(max_lines=10000)
    def on_mount(self):
        table = self.query_one(DataTable)
        names = "rank state node step loss time late memory age"
        self.columns = table.add_columns(*names.split())
        self.rows = [table.add_row(str(n), *["x"] * 8) for n in range(8)]
        self.count = 0
        self.set_interval(0.25, self.tick)
    def tick(self):
        self.count += 1
        table = self.query_one(DataTable)
        for row in self.rows:
            for column in self.columns[3:]:
                table.update_cell(row, column, f"{self.count % 997} ms")
        for spark in self.query(Sparkline):
            spark.data = [*spark.data[1:], random.random()]
        self.query_one(RichLog).write(f"epoch: [ 1/ 20], step:[{self.count:5}/ 45], loss:[1.1/1.2]")
Stock().run()
"""


LEET_RUN = """
import random, sys, time
import wandb
settings = wandb.Settings(console="off")
run = wandb.init(mode="offline", project="bench", dir=sys.argv[1], settings=settings)
keys = [f"{key}/rank{rank}" for rank in range(8) for key in ("loss", "time", "memory", "images")]
print("ready", flush=True)
while True:
    run.log({key: random.random() for key in keys})
    time.sleep(0.25)
"""
