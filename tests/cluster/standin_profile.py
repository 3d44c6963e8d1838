"""The profile of runs of the stand-in trainer on the hosts; `lab.py` fills it in."""

PROFILE = """\
name = "standin"
device_target = "CPU"
start_method = "{method}"
data_path = {data}

[node_defaults]
user = "root"
transport = "{transport}"
python = {python}
runs_directory = "~/runs"
slots = {slots}

{nodes}
[trainer]
epoch_size = {epochs}

[launch]
keep_warm_s = {keep_warm_s}

[limits]
stop_save_s = {stop_save_s}
term_s = 2
kill_s = 5
orphan_limit_s = {orphan_limit_s}
supervisor_restart_s = {supervisor_restart_s}
silent_min_s = {silent_min_s}
compile_s = {compile_s}
unreachable_s = {unreachable_s}

[retry]
nodes = "{retry_nodes}"
auto_resume = {auto_resume}
on_silent = "{on_silent}"

[checkpoint]
directory = "{checkpoints}"
shared = {shared}
copies = {copies}

[environment]
PYTHONPATH = {python_path}
STANDIN_FAULTS = {faults}
STANDIN_WITNESS = "{witness}"
STANDIN_STEPS = "{steps}"
STANDIN_STEP_S = "{step_s}"
STANDIN_ENOUGH = "{enough}"
STANDIN_KEEP = "{keep}"
STANDIN_STATE = "{state}"
STANDIN_SAVE = "{save}"
"""
