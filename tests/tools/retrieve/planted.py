"""What an index finds first of what was planted, and whether anything leaks through the guard.

The tests run a small part. The whole is run by hand, in a few minutes:

    python -m tests.tools.retrieve.planted
"""

import io
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from medgym.case_images import names_of, opened_images
from medgym.cases import Case, open_cases, write_cases
from medgym.evals.robustness.changed import changed_ref
from medgym.evals.robustness.corruptions.apply import ImageChange
from medgym.evals.robustness.corruptions.severities import kind_of, strengths
from medgym.imaging.study import ImageRef, open_image
from medgym.tools.retrieve.embedders.named import DEFAULTS
from medgym.tools.retrieve.index.build import build_index
from medgym.tools.retrieve.index.search import Query, open_index
from medgym.tools.retrieve.readers.corpora import corpora_of
from medgym.tools.retrieve.tool import Retrieve
from medgym.workspace import Workspace

LOOKS = "phantom,size=256,question=kind"
LEAK = "leak"


def built(names: Sequence[str], out: Path) -> Path:
    """An index with the default embedders."""
    build_index(corpora_of(names), out, DEFAULTS)
    return out


def picture_of(ref: ImageRef) -> Image.Image:
    study = open_image(ref)
    width, height = study.size
    return study.render((0.0, 0.0, float(width), float(height)), (width, height))


def encoded(image: Image.Image, chance: random.Random) -> Image.Image:
    held = io.BytesIO()
    image.save(held, "JPEG", quality=chance.randrange(40, 80))
    return Image.open(held).convert("RGB")


def shifted(image: Image.Image, chance: random.Random) -> Image.Image:
    """By up to 5 % of a side; what comes in is the border."""
    width, height = image.size
    reach = round(0.05 * max(image.size))
    across, down = (reach + chance.randint(-reach, reach) for _ in range(2))
    wide = np.pad(np.asarray(image), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    return Image.fromarray(wide[down : down + height, across : across + width])


def brightened(image: Image.Image, chance: random.Random) -> Image.Image:
    changed = ImageEnhance.Brightness(image).enhance(chance.uniform(0.7, 1.3))
    return ImageEnhance.Contrast(changed).enhance(chance.uniform(0.7, 1.3))


CHANGES = {"re-encoded": encoded, "shifted": shifted, "brightened": brightened}


def misspelt(text: str, chance: random.Random) -> str:
    """Twelve words of a text in a row, one of them with two letters exchanged."""
    words = text.split()
    start = chance.randrange(max(1, len(words) - 12))
    words = words[start : start + 12]
    place = max(range(len(words)), key=lambda n: len(words[n]))
    word = words[place]
    at = chance.randrange(max(1, len(word) - 1))
    words[place] = word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :]
    return " ".join(words)


def found_first(index: Path, cases: Sequence[Case], queries: int) -> dict[str, tuple[int, int]]:
    """For each kind of query how often what was planted is found first, and of how many."""
    opened, chance = open_index(index), random.Random(0)
    passages = [
        (part.document(place).id, part.document(place).text)
        for part in opened.parts
        for place in range(part.entry.documents)
        if part.entry.modality is None and len(part.document(place).text.split()) > 16
    ]
    hits: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    kinds = [*CHANGES, "words"]
    for number in range(queries):
        kind = kinds[number % len(kinds)]
        if kind == "words":
            wanted, text = chance.choice(passages)
            query = Query(misspelt(text, chance))
        else:
            case = chance.choice(cases)
            wanted = case.id
            query = Query(image=CHANGES[kind](picture_of(case.images[0]), chance))
        asked[kind] += 1
        hits[kind] += opened.find(query, 1, lambda _: True)[0].document.id == wanted
    return {kind: (hits[kind], count) for kind, count in asked.items()}


def with_leaks(cases: Sequence[Case], folder: Path) -> list[str]:
    """A corpus of what must not be handed out on these cases: a case of each kind, and passages."""
    planted: list[Case] = []
    passages: list[dict[str, Any]] = []
    chance = random.Random(1)
    for number, case in enumerate(cases):
        image = picture_of(case.images[0])

        def saved(name: str, picture: Image.Image, **how: Any) -> tuple[ImageRef, ...]:
            path = folder / name
            picture.save(path, **how)
            return (ImageRef(uri=f"file:{path}"),)

        look, side = case.images[0].uri.split("/")[1:3]
        other = picture_of(ImageRef(uri=f"phantom:train/{look}/{side}/{900 + number}"))
        fresh = saved(f"{number}-fresh.png", other)
        width, height = image.size
        small = image.crop((4, 0, width, height - 4)).resize((width * 3 // 4, height * 3 // 4))
        kinds: dict[str, dict[str, Any]] = {
            "the case": {"id": case.id, "images": fresh},
            "group": {"group": case.group, "images": fresh},
            "address": {"images": case.images},
            "pixels": {"images": saved(f"{number}-pixels.png", image)},
            "encoded": {"images": saved(f"{number}-e.jpg", encoded(image, chance), quality=75)},
            "smaller": {"images": saved(f"{number}-s.jpg", small, quality=80)},
            "grey": {"images": saved(f"{number}-g.png", image.convert("L"))},
            "one of two": {"images": (*fresh, *saved(f"{number}-2.bmp", image))},
        }
        for kind, update in kinds.items():
            fields = {"id": f"{LEAK}/train/{number}-{kind}", "group": f"{LEAK}-{number}-{kind}"}
            gold = {"answer": f"{LEAK} {number}", "accepted": (), "answer_type": "open"}
            whole = {**fields, **gold, "options": (), "split": "train", **update}
            planted.append(case.model_copy(update=whole))
        text = f"{LEAK} {number}: {case.question} {case.answer}"
        passages += [
            {"id": f"{LEAK}-passage-{number}", "text": text, "group": case.group},
            {"id": case.group, "text": text},
        ]
    write_cases(planted, folder / "planted.jsonl")
    lines = (json.dumps(passage) for passage in passages)
    (folder / "passages.jsonl").write_text("\n".join(lines))
    return [str(folder / "planted.jsonl"), str(folder / "passages.jsonl")]


def variants(case: Case, chance: random.Random) -> Iterator[Case]:
    """A case, and the case with its image corrupted."""
    yield case
    kind = kind_of(case.modality)
    names = sorted(strengths(case.modality))
    while True:
        severity, seed = chance.randrange(1, 6), chance.randrange(99)
        change = ImageChange(chance.choice(names), severity, kind, seed)
        images = (changed_ref(case.images[0], change),)
        yield case.model_copy(
            update={"id": f"{case.id}~{change.name}-{severity}", "images": images}
        )


def leaked(index: Path, cases: Sequence[Case], queries: int, each: int = 20) -> list[str]:
    """The leaks that came through in so many calls of the tool, each case and each of its variants
    played for `each` calls."""
    tool, chance = Retrieve(index=index), random.Random(2)
    played = {case.id: variants(case, chance) for case in cases}
    found: list[str] = []
    done = 0
    while done < queries:
        for number, case in enumerate(cases):
            version = next(played[case.id])
            images = opened_images(version)
            size = (images[0].start.view_sizes or (64,))[0]
            workspace = Workspace(images, view_size=size, names=names_of(version))
            for _ in range(min(each, queries - done)):
                done += 1
                if done % 1000 == 0:
                    print(f"{done} calls, {len(found)} leaks", file=sys.stderr, flush=True)
                call: dict[str, Any] = {"k": 5}
                if chance.random() < 0.6:
                    words = [LEAK, str(number), *version.question.split(), case.answer, case.group]
                    call["query"] = " ".join(chance.sample(words, min(6, len(words))))
                if "query" not in call or chance.random() < 0.5:
                    call["view"] = 0
                    if chance.random() < 0.3:
                        call["box"] = [chance.randrange(300), 0, 700 + chance.randrange(300), 1000]
                result = tool(tool.parse(call), workspace)
                wrong = f"Answer: {LEAK} {number}", f"{LEAK} {number}: "
                found += [
                    f"{version.id}: {line[:90]}"
                    for line in result.text.splitlines()
                    if line.split("] ", 1)[-1].startswith(wrong[1]) or line.endswith(wrong[0])
                ]
    return found


def main() -> None:
    docs = Path(__file__).parents[3] / "docs"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = open_cases(f"{LOOKS},look=ct+fundus+radiograph:train[:600]")
        spec = f"{LOOKS},look=ct+fundus+radiograph:train[:600]"
        first = found_first(built([spec, str(docs)], folder / "index"), train, 1000)
        print(first, sum(hits for hits, _ in first.values()), "of 1000 first")
        cases = open_cases(f"{LOOKS},look=ct+fundus+radiograph:test[:40]")
        names = [*with_leaks(list(cases), folder), f"{LOOKS},look=ct+fundus:train[:200]"]
        through = leaked(built(names, folder / "leaks"), cases, 10_000, each=50)
        print(len(through), "leaks in 10,000 calls", through[:10])
        sys.exit(bool(through) or sum(hits for hits, _ in first.values()) < 950)


if __name__ == "__main__":
    main()
