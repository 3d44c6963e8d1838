"""Output of npu-smi, nvidia-smi and hccn_tool, parsed."""
