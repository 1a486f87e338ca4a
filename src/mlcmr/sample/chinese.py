"""Captions in Chinese."""

from typing import NamedTuple

from mlcmr.sample.caption_plan import CaptionPlan, WordChooser, comparison
from mlcmr.sample.world import Action, Colour, Ground, Scene, Shape, ShapeSize


class ChineseNoun(NamedTuple):
    """A noun and its measure word."""

    word: str
    measure: str = "个"


NOUNS: dict[Shape, list[ChineseNoun]] = {
    "circle": [ChineseNoun("圆形"), ChineseNoun("圆")],
    "square": [ChineseNoun("正方形"), ChineseNoun("方块")],
    "triangle": [ChineseNoun("三角形")],
    "star": [ChineseNoun("星星", "颗"), ChineseNoun("五角星", "颗")],
    "ring": [ChineseNoun("圆环"), ChineseNoun("环形")],
    "diamond": [ChineseNoun("菱形")],
    "heart": [ChineseNoun("爱心", "颗"), ChineseNoun("心形")],
    "crescent": [ChineseNoun("月牙"), ChineseNoun("月牙", "弯")],
}
COLOURS: dict[Colour, list[str]] = {
    "red": ["红色"],
    "orange": ["橙色", "橘色"],
    "yellow": ["黄色"],
    "green": ["绿色"],
    "turquoise": ["青色", "青绿色"],
    "blue": ["蓝色"],
    "purple": ["紫色"],
    "pink": ["粉色", "粉红色"],
}
SIZES: dict[ShapeSize | None, list[str]] = {"small": ["小"], "big": ["大"], None: [""]}
GROUNDS: dict[Ground, list[str]] = {
    "light": ["在浅色的背景上", "明亮的背景上"],
    "dark": ["在深色的背景上", "黑暗的背景上"],
}


class ChineseVerb(NamedTuple):
    """A verb phrase; `{}` stands for the second thing. `steady` phrases take no `正在` (in the course of)."""

    phrase: str
    steady: bool = False


VERBS: dict[Action, list[ChineseVerb]] = {
    "left": [
        ChineseVerb("向左移动"),
        ChineseVerb("往左滑动"),
        ChineseVerb("从右向左移动"),
        ChineseVerb("从右往左飘"),
    ],
    "right": [
        ChineseVerb("向右移动"),
        ChineseVerb("往右滑动"),
        ChineseVerb("从左向右移动"),
        ChineseVerb("从左往右飘"),
    ],
    "up": [ChineseVerb("向上移动"), ChineseVerb("往上升"), ChineseVerb("向上飘")],
    "down": [ChineseVerb("向下移动"), ChineseVerb("往下沉"), ChineseVerb("向下飘")],
    "circle": [ChineseVerb("绕圈移动"), ChineseVerb("转着圈移动"), ChineseVerb("沿着圆圈移动")],
    "bounce": [ChineseVerb("上下跳动"), ChineseVerb("上下弹跳"), ChineseVerb("一上一下地跳")],
    "sway": [ChineseVerb("左右摇摆"), ChineseVerb("左右摆动"), ChineseVerb("来回移动")],
    "grow": [ChineseVerb("逐渐变大"), ChineseVerb("慢慢变大"), ChineseVerb("变得越来越大")],
    "shrink": [ChineseVerb("逐渐变小"), ChineseVerb("慢慢变小"), ChineseVerb("变得越来越小")],
    "blink": [ChineseVerb("闪烁"), ChineseVerb("不停地闪烁"), ChineseVerb("一闪一闪", True)],
    "rest": [ChineseVerb("静止不动", True), ChineseVerb("停在原地", True), ChineseVerb("一动不动", True)],
    "above": [ChineseVerb("在{}上方", True), ChineseVerb("位于{}上方", True)],
    "below": [ChineseVerb("在{}下方", True), ChineseVerb("位于{}下方", True)],
    "left_of": [ChineseVerb("在{}左边", True), ChineseVerb("位于{}左侧", True)],
    "right_of": [ChineseVerb("在{}右边", True), ChineseVerb("位于{}右侧", True)],
    "follow_left": [
        ChineseVerb("跟着{}向左移动"),
        ChineseVerb("跟在{}后面向左移动", True),
        ChineseVerb("追着{}往左移动"),
    ],
    "follow_right": [
        ChineseVerb("跟着{}向右移动"),
        ChineseVerb("跟在{}后面向右移动", True),
        ChineseVerb("追着{}往右移动"),
    ],
    "pass_left": [ChineseVerb("从右向左经过{}"), ChineseVerb("向左经过{}"), ChineseVerb("从{}旁边向左移过")],
    "pass_right": [ChineseVerb("从左向右经过{}"), ChineseVerb("向右经过{}"), ChineseVerb("从{}旁边向右移过")],
    "orbit": [ChineseVerb("绕着{}转圈"), ChineseVerb("围着{}转"), ChineseVerb("环绕{}移动")],
    "approach": [ChineseVerb("朝{}靠近"), ChineseVerb("慢慢靠近{}"), ChineseVerb("向{}移动")],
    "leave": [ChineseVerb("渐渐远离{}"), ChineseVerb("从{}旁边移开"), ChineseVerb("慢慢离开{}")],
}


class _ChinesePhrase(NamedTuple):
    """The words that describe one thing."""

    size: str
    colour: str
    noun: ChineseNoun

    def bare(self) -> str:
        return f"{self.colour}{self.size}{self.noun.word}"

    def counted(self) -> str:
        return f"一{self.noun.measure}{self.colour}的{self.size}{self.noun.word}"


def write_caption(plan: CaptionPlan) -> str:
    """Return a caption in Chinese."""
    choose = plan.chooser("zh")
    scene = plan.scene
    names = _names(scene, choose)
    verb = choose(VERBS[scene.action])
    progress = "" if verb.steady else choose(["正在", ""])
    first, action = names[0].counted(), progress + verb.phrase.format(names[-1].counted())
    match plan.form:
        case "plain":
            text = first + action
        case "there":
            text = choose([f"画面中有{first}{action}", f"有{first}，它{action}"])
        case "see":
            text = choose(["可以看到", "我们看到", "视频里可以看到"]) + first + action
        case "ground":
            text = f"{choose(GROUNDS[scene.ground])}，{first}{action}"
        case "title":
            text = f"{verb.phrase.format(names[-1].bare())}的{names[0].bare()}"
        case "facts":
            text = _facts(scene, names, progress + verb.phrase)
    return f"{text}。"


def _facts(scene: Scene, names: list[_ChinesePhrase], action: str) -> str:
    if len(names) == 1:
        (name,) = names
        return f"这{name.noun.measure}{name.size}{name.noun.word}是{name.colour}的，{action}"
    compared = comparison(scene)
    first, second = (name._replace(size="") for name in names) if compared else names
    story = first.counted() + action.format(second.counted())
    if not compared:
        return story
    size = names[0].size
    if compared == "equal":
        return f"{story}，两个都很{size}"
    same = first.noun.word == second.noun.word
    subject, other = (name.bare() if same else name.noun.word for name in (first, second))
    return f"{story}，{subject}比{other}{size}"


def _names(scene: Scene, choose: WordChooser) -> list[_ChinesePhrase]:
    sizes = choose.each(SIZES, [thing.size for thing in scene.things])
    colours = choose.each(COLOURS, [thing.colour for thing in scene.things])
    nouns = choose.each(NOUNS, [thing.shape for thing in scene.things])
    return [_ChinesePhrase(*words) for words in zip(sizes, colours, nouns, strict=True)]
