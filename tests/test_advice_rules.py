"""Rule files: the shipped ones are whole and alike in both languages; other people's are read without trust."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mllm_iqa.advice import advise
from mllm_iqa.advice_rules import fields_of, load_rules, shipped_rules, without_findings
from mllm_iqa.errors import PromptError
from mllm_iqa.shared_yaml import read_yaml
from mllm_iqa.types import Finding, ImageInfo

INFO = ImageInfo("a.jpg", 600, 400, 600, 400)
OWN: dict[str, Any] = {
    "task": "studio",
    "version": 2,
    "language": "en",
    "extends": "advice.v1",
    "rules": [
        {
            "id": "our-denoiser",
            "findings": [{"of": "noise", "severity": [2, 5]}],
            "does": ["denoise"],
            "gain": 3,
            "text": "Send it through the studio's denoiser, preset {kind}.",
            "source": "Our own tests.",
        }
    ],
}


def written(path: Path, values: Any) -> Path:
    file = path / "rules.yaml"
    file.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    return file


def test_the_shipped_rules_are_the_same_in_both_languages() -> None:
    english, chinese = shipped_rules("en"), shipped_rules("zh")
    assert [rule.id for _, rule in english.rules] == [rule.id for _, rule in chinese.rules]
    for (_, a), (_, b) in zip(english.rules, chinese.rules, strict=True):
        assert fields_of(a.text) == fields_of(b.text), a.id
        assert a.model_copy(update={"text": ""}) == b.model_copy(update={"text": ""})
        assert a.text != b.text
    for key in ("clean", "unclear"):
        assert without_findings(key) != without_findings(key, language="zh")


def test_the_chinese_file_says_nothing_that_no_rule_says() -> None:
    from mllm_iqa.prompt_files import load_prompt

    ids = {rule.id for _, rule in shipped_rules().rules}
    assert set(load_prompt("advice.v1", "zh").phrases) == ids | {"clean", "unclear"}


def test_every_rule_says_why() -> None:
    for _, rule in shipped_rules().rules:
        assert rule.source.endswith(".") and len(rule.source) > 8, rule.id
        named = re.match(r"(?:As|See) ([a-z-]+)[ .,]", rule.source)
        if named:
            assert named.group(1) in {other.id for _, other in shipped_rules().rules}, rule.id


def test_a_file_of_ones_own_goes_before_the_shipped_rules(tmp_path: Path) -> None:
    rules = load_rules(written(tmp_path, OWN))
    (advice,) = advise([Finding("gaussian noise", "noise", 3, 0.9)], INFO, rules=rules)
    assert advice.text == "Send it through the studio's denoiser, preset gaussian noise."
    assert advice.rule == "studio.v2/our-denoiser"
    (mild,) = advise([Finding("gaussian noise", "noise", 1, 0.9)], INFO, rules=rules)
    assert mild.rule == "advice.v1/grain-mild"


def test_a_rule_of_the_same_name_replaces_the_shipped_one(tmp_path: Path) -> None:
    own = {**OWN, "rules": [{**OWN["rules"][0], "id": "out-of-focus", "findings": [{"of": ["lens blur"]}]}]}
    rules = load_rules(written(tmp_path, own))
    assert [source for source, rule in rules.rules if rule.id == "out-of-focus"] == ["studio.v2"]


def test_a_file_in_chinese_extends_the_chinese_rules(tmp_path: Path) -> None:
    own = {**OWN, "language": "zh", "rules": [{**OWN["rules"][0], "text": "请用本室的降噪工具处理{kind}。"}]}
    rules = load_rules(written(tmp_path, own))
    assert (
        advise([Finding("gaussian noise", "noise", 3, 0.9)], INFO, rules=rules)[0].text
        == "请用本室的降噪工具处理高斯噪声。"
    )
    assert advise([Finding("lens blur", "blur", 1, 0.9)], INFO, rules=rules)[0].text.endswith("。")


def test_the_shipped_name_is_a_file_too() -> None:
    assert load_rules("advice.v1") is shipped_rules()
    assert load_rules("advice.v1", language="zh") is shipped_rules("zh")
    with pytest.raises(PromptError, match="no advice in language 'fr'"):
        shipped_rules("fr")


def changed(**changes: Any) -> dict[str, Any]:
    return {**OWN, "rules": [{**OWN["rules"][0], **changes}]}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("rules: [", "not valid YAML"),
        ("just words", "not a mapping"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("task: a\ntask: b\n", "'task' is there twice"),
        ({**OWN, "rules": []}, "rules: Tuple should have at least 1 item"),
        ({**OWN, "colour": 1}, "colour: Extra inputs"),
        ({**OWN, "language": "fr"}, "language 'fr'; there are: en, zh"),
        ({**OWN, "rules": OWN["rules"] + copy.deepcopy(OWN["rules"])}, "two rules are called 'our-denoiser'"),
        ({**OWN, "extends": None}, "nothing to say in every case about the family 'blur' at severity 1"),
        ({**OWN, "contradictions": [["denoise", "sharpn"]]}, "no rule does 'sharpn'.*did you mean 'sharpen'"),
        (changed(findings=[{"of": "nois"}]), "'nois' is neither a kind nor a family.*did you mean 'noise'"),
        (changed(findings=[{"of": "noise", "severity": [4, 2]}]), r"\[4, 2\] is empty"),
        (changed(findings=[{"of": "noise", "severity": [0, 2]}]), "rule 'our-denoiser'.findings.0.severity.0"),
        (changed(gain=4), "rule 'our-denoiser'.gain: Input should be less than or equal to 3"),
        (changed(text="See {kind.__class__} and more"), "is no field"),
        (changed(text="See {0} and this and that"), "is no field"),
        (changed(text="An open { brace somewhere"), "a brace of its own is written twice"),
        (changed(text="Saved at {quality}, they say."), "needs the condition file.jpeg_quality"),
        (changed(does=["denoise", "denoise less"]), "contradicts itself"),
        (changed(text="x" * 601), "at most 600 characters"),
    ],
)
def test_a_bad_file_is_one_clear_sentence(values: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=reason) as caught:
        load_rules(written(tmp_path, values))
    assert "rules.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="cannot be read: No such file"):
        load_rules(tmp_path / "no.yaml")
    with pytest.raises(PromptError, match="cannot be read"):
        load_rules(tmp_path)
    (tmp_path / "rules.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PromptError, match="UTF-8"):
        load_rules(tmp_path / "rules.yaml")
    (tmp_path / "rules.yaml").write_bytes(b"#" * 300_000)
    with pytest.raises(PromptError, match="larger than 256 KiB"):
        load_rules(tmp_path / "rules.yaml")


def test_depth_and_tags_harm_nobody(tmp_path: Path) -> None:
    for text in ("[" * 1100 + "]" * 1100, "a: !!python/object/apply:os.system ['true']"):
        with pytest.raises(PromptError, match="not valid YAML"):
            read_yaml(written(tmp_path, text), "file")
