from __future__ import annotations

import re

import pytest

from dicom_sr.check_words import check_words
from dicom_sr.language import words_in
from dicom_sr.plain_reasons import plain_words
from tests.support.reports import case

NAMES = {
    "grey_levels.t1c.tumor.R": ("grey levels, T1+C right tumor", "灰度级数，T1+C 右侧肿瘤"),
    "kept_volume.adc.lymph_nodes.L": ("kept volume, ADC left lymph nodes", "保留体积，ADC 左侧淋巴结"),
    "kept_volume.adc.lymph_nodes": ("kept volume, ADC lymph nodes", "保留体积，ADC 淋巴结"),
    "drawn_on.lymph_nodes.R": ("images drawn on, right lymph nodes", "勾画图像，右侧淋巴结"),
    "drawn_on.tumor": ("images drawn on, tumor", "勾画图像，肿瘤"),
    "drawn_on.pixel_spacing.segment_3": ("images drawn on, pixel spacing, segment 3", "勾画图像，像素间距、分割 3"),
    "shape.segment_4": ("shape, segment 4", "形状，分割 4"),
    "headers.t2.decimal_comma": ("headers, T2, decimal comma", "文件头，T2、小数逗号"),
    "bias.adc.iterations": ("bias field, ADC, iterations", "偏置场，ADC、迭代次数"),
    "sequences": ("sequences", "序列"),
    "one side not evaluated": ("one side not evaluated", "一侧未评估"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_check_is_told_in_words_in_both_languages(name: str) -> None:
    assert (check_words(name, words_in("en")), check_words(name, words_in("zh"))) == NAMES[name]


def test_a_check_of_another_version_is_told_by_its_own_words() -> None:
    for language in ("en", "zh"):
        assert not re.search(r"[._]", check_words("some_new.t2.lymph_nodes.R", words_in(language)))


@pytest.mark.parametrize(
    ("said", "english", "chinese"),
    [
        ("lymph_nodes.R", "right lymph nodes", "右侧淋巴结"),
        ("adc.lymph_nodes.L, tumor.R", "ADC left lymph nodes, right tumor", "ADC 左侧淋巴结, 右侧肿瘤"),
        ("t2.tumor; lymph_nodes.", "T2 tumor; lymph nodes.", "T2 肿瘤; 淋巴结."),
        ("roi.lymph_nodes, tumor", "roi.lymph_nodes, tumor", "roi.lymph_nodes, tumor"),
    ],
)
def test_a_region_is_told_in_words_with_its_side_and_a_setting_stays(said: str, english: str, chinese: str) -> None:
    result = case("high").result
    assert [plain_words(said, result, words_in(language)) for language in ("en", "zh")] == [english, chinese]
