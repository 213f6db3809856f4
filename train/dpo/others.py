"""The images that the term `image` shows in place of a chosen episode's own.

They depend on the seed and the pair alone, so that a reference may be computed beforehand.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from medgym.cases import Case
from medgym.errors import UserError
from medgym.seeds import seed_of

from ..data.preferences.exchange import exchanged_images
from ..data.preferences.pair import Pair
from ..sft.samples import GetImage
from .batches import Exchange
from .tables import ImagesTable

PARTNERS = 8
"""Images of so many other patients stand for one's own, where another patient's are asked for."""


def exchange_of(
    pairs: Sequence[Pair],
    table: ImagesTable,
    get_image: GetImage,
    cases: Mapping[str, Case],
    seed: int,
) -> Exchange:
    """What gives the images of a pair's third row.

    Args:
        table: which, and how. cases: of the pairs, by id, as far as they are known.

    Raises:
        UserError: noise without the cases' regions, or another patient's image without another.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        case = cases.get(pair.case_id)
        groups[case.group if case is not None and case.group else pair.case_id].append(number)
    if table.how == "noise":
        bare = [p.case_id for p in pairs if p.case_id not in cases or not cases[p.case_id].regions]
        if bare:
            raise UserError(
                f'[dpo.images] how = "noise" needs gold regions, which {bare[0]} lacks; fix: '
                "another how, or cases with regions"
            )
    if table.how == "other" and len(groups) < 2:
        raise UserError(
            '[dpo.images] how = "other" needs pairs of two patients at least; fix: another how, or '
            "more cases"
        )
    group_of = {number: name for name, numbers in groups.items() for number in numbers}

    def images(number: int, pair: Pair) -> Mapping[str, Image.Image]:
        rng = np.random.default_rng(seed_of(seed, "other images", pair.case_id, number))
        others: list[str] = []
        if table.how == "other":
            drawn = rng.permutation(len(pairs))
            partners = [n for n in map(int, drawn) if group_of[n] != group_of[number]][:PARTNERS]
            others = list(
                dict.fromkeys(name for n in partners for name in pairs[n].chosen.image_hashes)
            )
        return exchanged_images(
            pair.chosen,
            which=table.which,
            how=table.how,
            case=cases.get(pair.case_id),
            image=get_image,
            others=others,
            rng=rng,
        )

    return images
