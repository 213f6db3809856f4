"""The recipes that ship, each a TOML file whose head says what it follows and where it departs."""

from pathlib import Path

_HERE = Path(__file__).parent

consult_qwen3_vl_4b = _HERE / "consult-qwen3-vl-4b.toml"
consult_tiny = _HERE / "consult-tiny.toml"
dpo_looking_tiny = _HERE / "dpo-looking-tiny.toml"
dpo_online_tiny = _HERE / "dpo-online-tiny.toml"
dpo_tiny = _HERE / "dpo-tiny.toml"
dpo_tiny_grpo = _HERE / "dpo-tiny-grpo.toml"
internvl3_8b = _HERE / "internvl3-8b.toml"
mdpo = _HERE / "mdpo.toml"
med_r1 = _HERE / "med-r1.toml"
medgemma_4b = _HERE / "medgemma-4b.toml"
mmed_rag = _HERE / "mmed-rag.toml"
mmedpo = _HERE / "mmedpo.toml"
qwen2_5_vl_7b = _HERE / "qwen2.5-vl-7b.toml"
qwen3_vl_4b = _HERE / "qwen3-vl-4b.toml"
rule = _HERE / "rule.toml"
tiny = _HERE / "tiny.toml"
tiny_no_tools = _HERE / "tiny-no-tools.toml"
tiny_volume = _HERE / "tiny-volume.toml"
vitar = _HERE / "vitar.toml"
