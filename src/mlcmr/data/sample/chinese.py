"""Captions in Chinese."""

from typing import NamedTuple

from mlcmr.data.sample.telling import Chooser, Telling, comparison
from mlcmr.data.sample.world import Action, Colour, Ground, Kind, Scene, Size


class Noun(NamedTuple):
    """A noun and its measure word."""

    word: str
    measure: str = "个"


NOUNS: dict[Kind, list[Noun]] = {
    "circle": [Noun("圆形"), Noun("圆")],
    "square": [Noun("正方形"), Noun("方块")],
    "triangle": [Noun("三角形")],
    "star": [Noun("星星", "颗"), Noun("五角星", "颗")],
    "ring": [Noun("圆环"), Noun("环形")],
    "diamond": [Noun("菱形")],
    "heart": [Noun("爱心", "颗"), Noun("心形")],
    "crescent": [Noun("月牙"), Noun("月牙", "弯")],
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
SIZES: dict[Size | None, list[str]] = {"small": ["小"], "big": ["大"], None: [""]}
GROUNDS: dict[Ground, list[str]] = {
    "light": ["在浅色的背景上", "明亮的背景上"],
    "dark": ["在深色的背景上", "黑暗的背景上"],
}


class Verb(NamedTuple):
    """What is done; `{}` is the second thing. `steady` phrases go without `正在` (in the course of)."""

    phrase: str
    steady: bool = False


VERBS: dict[Action, list[Verb]] = {
    "left": [Verb("向左移动"), Verb("往左滑动"), Verb("从右向左移动"), Verb("从右往左飘")],
    "right": [Verb("向右移动"), Verb("往右滑动"), Verb("从左向右移动"), Verb("从左往右飘")],
    "up": [Verb("向上移动"), Verb("往上升"), Verb("向上飘")],
    "down": [Verb("向下移动"), Verb("往下沉"), Verb("向下飘")],
    "circle": [Verb("绕圈移动"), Verb("转着圈移动"), Verb("沿着圆圈移动")],
    "bounce": [Verb("上下跳动"), Verb("上下弹跳"), Verb("一上一下地跳")],
    "sway": [Verb("左右摇摆"), Verb("左右摆动"), Verb("来回移动")],
    "grow": [Verb("逐渐变大"), Verb("慢慢变大"), Verb("变得越来越大")],
    "shrink": [Verb("逐渐变小"), Verb("慢慢变小"), Verb("变得越来越小")],
    "blink": [Verb("闪烁"), Verb("不停地闪烁"), Verb("一闪一闪", True)],
    "rest": [Verb("静止不动", True), Verb("停在原地", True), Verb("一动不动", True)],
    "above": [Verb("在{}上方", True), Verb("位于{}上方", True)],
    "below": [Verb("在{}下方", True), Verb("位于{}下方", True)],
    "left_of": [Verb("在{}左边", True), Verb("位于{}左侧", True)],
    "right_of": [Verb("在{}右边", True), Verb("位于{}右侧", True)],
    "follow_left": [Verb("跟着{}向左移动"), Verb("跟在{}后面向左移动", True), Verb("追着{}往左移动")],
    "follow_right": [Verb("跟着{}向右移动"), Verb("跟在{}后面向右移动", True), Verb("追着{}往右移动")],
    "pass_left": [Verb("从右向左经过{}"), Verb("向左经过{}"), Verb("从{}旁边向左移过")],
    "pass_right": [Verb("从左向右经过{}"), Verb("向右经过{}"), Verb("从{}旁边向右移过")],
    "orbit": [Verb("绕着{}转圈"), Verb("围着{}转"), Verb("环绕{}移动")],
    "approach": [Verb("朝{}靠近"), Verb("慢慢靠近{}"), Verb("向{}移动")],
    "leave": [Verb("渐渐远离{}"), Verb("从{}旁边移开"), Verb("慢慢离开{}")],
}


class _Name(NamedTuple):
    """The words chosen for one thing."""

    size: str
    colour: str
    noun: Noun

    def bare(self) -> str:
        return f"{self.colour}{self.size}{self.noun.word}"

    def counted(self) -> str:
        return f"一{self.noun.measure}{self.colour}的{self.size}{self.noun.word}"


def tell(telling: Telling) -> str:
    """A caption in Chinese."""
    choose = telling.chooser("zh")
    scene = telling.scene
    names = _names(scene, choose)
    verb = choose(VERBS[scene.action])
    progress = "" if verb.steady else choose(["正在", ""])
    first, action = names[0].counted(), progress + verb.phrase.format(names[-1].counted())
    match telling.idea:
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


def _facts(scene: Scene, names: list[_Name], action: str) -> str:
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
    told, other = (name.bare() if same else name.noun.word for name in (first, second))
    return f"{story}，{told}比{other}{size}"


def _names(scene: Scene, choose: Chooser) -> list[_Name]:
    sizes = choose.each(SIZES, [thing.size for thing in scene.things])
    colours = choose.each(COLOURS, [thing.colour for thing in scene.things])
    nouns = choose.each(NOUNS, [thing.kind for thing in scene.things])
    return [_Name(*words) for words in zip(sizes, colours, nouns, strict=True)]
