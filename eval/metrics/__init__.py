"""Metrics as pure functions over arrays and labels: no model, no files. SRCC and PLCC are in `mllm_iqa.agreement`."""
