"""Machine translations of the captions of the sample, as clumsy as those of early systems.

Each phrase, the longest first, becomes a fixed word, so the word order stays that of the source. Now and then
a word is translated in its wrong sense (a star that *slides* becomes a slide show) or is lost. The choices
depend on the sentence alone, so a sentence always has the same translation.
"""

import random
import re
from collections.abc import Iterator

# The usual translation, and after the slash a translation in the wrong sense.
ENGLISH_TO_CHINESE: dict[str, str] = {
    "a": "一个", "an": "一个", "the": "该/这", "there is": "有/那里是", "that": "那", "we see": "我们看到",
    "you can see": "你可以看到", "the clip shows": "剪辑显示/夹子显示", "is": "是", "and": "和", "it": "它",
    "on a light background": "在浅色背景上/在轻的背景上", "on a bright background": "在明亮的背景上",
    "on a dark background": "在黑暗的背景上", "against a dark background": "对着黑暗的背景/反对黑暗背景",
    "both are": "两者都是", "bigger than": "大于/比较大比", "smaller than": "小于/比较小比", "small": "小",
    "little": "小/少", "big": "大", "large": "大/大型", "red": "红色", "orange": "橙色/橘子",
    "yellow": "黄色", "green": "绿色", "turquoise": "绿松石色/绿松石", "cyan": "青色", "blue": "蓝色/忧郁",
    "purple": "紫色", "violet": "紫色/紫罗兰", "pink": "粉红色", "circle": "圆形/圈子", "disc": "圆盘/光盘",
    "square": "正方形/广场", "triangle": "三角形", "star": "星星/明星", "ring": "圆环/戒指",
    "hoop": "环/箍", "diamond": "菱形/钻石", "rhombus": "菱形", "heart": "心/心脏", "crescent": "新月",
    "crescent moon": "新月", "moves": "移动/动作", "moving": "移动/搬家", "slides": "滑动/幻灯片",
    "sliding": "滑动", "glides": "滑行", "gliding": "滑行", "drifts": "漂移", "drifting": "漂移",
    "rises": "上升", "rising": "上升", "floats": "漂浮/花车", "floating": "漂浮", "sinks": "下沉/水槽",
    "sinking": "下沉", "to the left": "到左边", "to the right": "到右边/向正确",
    "from right to left": "从右到左", "from left to right": "从左到右", "leftwards": "向左",
    "rightwards": "向右", "up": "向上", "upwards": "向上", "to the top": "到顶部", "down": "向下",
    "downwards": "向下", "to the bottom": "到底部", "goes": "去", "going": "去", "travels": "旅行",
    "travelling": "旅行", "in a circle": "在一个圆圈里", "round in a circle": "绕一个圆圈",
    "along a circle": "沿着一个圆圈", "bounces": "弹跳/反弹", "bouncing": "弹跳/反弹", "hops": "跳/啤酒花",
    "hopping": "跳", "jumps": "跳跃", "jumping": "跳跃", "up and down": "上下", "swings": "摆动/秋千",
    "swinging": "摆动", "sways": "摇摆", "swaying": "摇摆", "from side to side": "从一边到另一边",
    "left and right": "左和右", "back and forth": "来回", "grows": "生长", "growing": "生长",
    "gets": "变得/得到", "getting": "变得/得到", "becomes": "变得/成为", "becoming": "变得/成为",
    "bigger and bigger": "越来越大", "larger": "更大", "shrinks": "收缩/缩水", "shrinking": "收缩/缩水",
    "smaller and smaller": "越来越小", "smaller": "更小", "blinks": "闪烁/眨眼", "blinking": "闪烁/眨眼",
    "flashes": "闪光", "flashing": "闪光", "on and off": "断断续续/开和关", "stays": "停留",
    "staying": "停留", "still": "静止/仍然", "rests": "休息", "resting": "休息",
    "in one place": "在一个地方", "does not move": "不移动", "not moving": "不移动", "lies": "位于/谎言",
    "lying": "位于/撒谎", "sits": "坐", "sitting": "坐", "stands": "站", "standing": "站", "above": "上方",
    "below": "下方", "under": "下面", "to the left of": "左边的", "to the right of": "右边的",
    "left of": "左边", "right of": "右边/权利", "follows": "跟随/如下", "following": "跟随/以下",
    "chases": "追逐", "chasing": "追逐", "behind": "后面", "passes": "经过/通行证", "passing": "经过/逝世",
    "past": "经过/过去", "circles": "盘旋/圈子", "circling": "盘旋", "around": "周围",
    "orbits": "环绕/轨道", "orbiting": "环绕", "approaches": "接近/方法", "approaching": "接近",
    "towards": "朝向", "comes": "来", "coming": "来", "closer to": "更靠近", "away from": "远离",
    "retreats": "撤退", "retreating": "撤退", "from": "从", ",": "，", ";": "；", ".": "。",
}  # fmt: skip

CHINESE_TO_ENGLISH: dict[str, str] = {
    "一个": "a/one", "一颗": "a/one grain of", "一弯": "a/a bend of", "这个": "this",
    "这颗": "this/this grain of", "这弯": "this", "的": "", "正在": "is/is in the middle of", "它": "it",
    "有": "there is/have", "是": "is", "画面中": "in the picture/in the screen", "可以看到": "can see",
    "我们看到": "we saw", "视频里": "in the video", "在浅色的背景上": "on the light color background",
    "在深色的背景上": "on the dark color background/on the deep background",
    "明亮的背景上": "on the bright background", "黑暗的背景上": "on the darkness background",
    "两个都很": "both are very/two very", "比": "than", "小": "small", "大": "big", "红色": "red",
    "橙色": "orange", "橘色": "orange", "黄色": "yellow", "绿色": "green", "青色": "cyan",
    "青绿色": "blue green", "蓝色": "blue", "紫色": "purple", "粉色": "pink", "粉红色": "pink",
    "圆形": "round/circular", "圆": "circle/round", "正方形": "square", "方块": "block/diamonds",
    "三角形": "triangle/triangular", "星星": "star/stars", "五角星": "five pointed star/pentagram",
    "圆环": "ring", "环形": "ring/annular", "菱形": "diamond/rhombic", "爱心": "heart/love",
    "心形": "heart shape", "月牙": "crescent/moon tooth", "移动": "move/mobile", "滑动": "slide",
    "飘": "float", "向左": "to the left", "往左": "to the left", "从右向左": "from right to left",
    "从右往左": "from right to left", "向右": "to the right", "往右": "to the right",
    "从左向右": "from left to right", "从左往右": "from left to right", "向上": "upward",
    "往上升": "rise up", "向下": "downward", "往下沉": "sink down", "绕圈": "around circle",
    "转着圈": "turning circles", "沿着圆圈": "along the circle", "上下跳动": "beat up and down",
    "上下弹跳": "bounce up and down", "一上一下地跳": "jump one up one down",
    "左右摇摆": "left and right swing", "左右摆动": "left and right swing", "来回": "back and forth",
    "逐渐变大": "gradually become larger", "慢慢变大": "slowly become big",
    "变得越来越大": "become bigger and bigger", "逐渐变小": "gradually become smaller",
    "慢慢变小": "slowly become small", "变得越来越小": "become smaller and smaller", "闪烁": "flicker",
    "不停地": "non stop", "一闪一闪": "one flash one flash/twinkle twinkle", "静止不动": "still not moving",
    "停在原地": "stop in place/parked in place", "一动不动": "motionless", "在": "in/at", "位于": "located",
    "上方": "above", "下方": "below", "左边": "left", "右边": "right", "左侧": "left side",
    "右侧": "right side", "跟着": "follow/with", "跟在": "follow in", "后面": "behind/back",
    "追着": "chase", "经过": "pass/after", "从": "from", "旁边": "beside/next to", "移过": "move over",
    "绕着": "around", "转圈": "turn circles", "围着": "surround", "转": "turn", "环绕": "surround",
    "绕": "around", "朝": "toward/dynasty", "靠近": "near", "慢慢靠近": "slowly near", "向": "to",
    "渐渐远离": "gradually far away", "移开": "move away", "慢慢离开": "slowly leave", "，": ",", "。": ".",
}  # fmt: skip

_WRONG = 0.15
_LOST = 0.02


def english_to_chinese(text: str) -> str:
    """Translate an English caption of the sample to Chinese."""
    return "".join(_translate_phrases(text.lower(), _ENGLISH_PHRASE, ENGLISH_TO_CHINESE)).lstrip("，")


def chinese_to_english(text: str) -> str:
    """Translate a Chinese caption of the sample to English."""
    words = " ".join(filter(None, _translate_phrases(text, _CHINESE_PHRASE, CHINESE_TO_ENGLISH)))
    sentence = re.sub(r" +([,.])", r"\1", words).lstrip(", ")
    return sentence[:1].upper() + sentence[1:]


def _translate_phrases(text: str, phrase: re.Pattern[str], senses: dict[str, str]) -> Iterator[str]:
    rng = random.Random(text)  # noqa: S311
    for found in phrase.findall(text):
        usual, *wrong = senses[found].split("/")
        chance = rng.random()
        if chance > _LOST or not found[0].isalpha():
            yield wrong[0] if wrong and chance > 1 - _WRONG else usual


def _longest_first(table: dict[str, str]) -> str:
    return "|".join(re.escape(phrase) for phrase in sorted(table, key=len, reverse=True))


_ENGLISH_PHRASE = re.compile(rf"\b(?:{_longest_first(ENGLISH_TO_CHINESE)})\b|[,;.]")
_CHINESE_PHRASE = re.compile(_longest_first(CHINESE_TO_ENGLISH))
