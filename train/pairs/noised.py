"""The same pairs, the rejected episodes with noise in the gold regions, as in MMedPO."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from medgym.cases import Case
from medgym.messages import ImagePart
from medgym.seeds import seed_of
from medgym.storage.atomic import remove
from medgym.storage.pair_rows import PAIRS

from ..data.preferences.exchange import exchanged_images, with_images
from ..data.preferences.folder import PairFolder, PairWriter
from ..run.processes import everyone, is_first


def noised(pairs: PairFolder, out: Path, cases: Iterable[Case], seed: int) -> PairFolder:
    """A folder of the same pairs with other rejected images; made once, by the first process.

    A pair of a case without regions, and one whose rejected episode shows none, stays as it is.

    Args:
        pairs: as they were. out: of the new folder.
        cases: those of the pairs, with their regions, if the folder does not hold them.
        seed: of the noise.
    """
    if is_first() and not (out / PAIRS).is_file():
        remove(out)  # of a run that was killed
        known = pairs.cases() or {case.id: case for case in cases}
        writer = PairWriter(out, {"noised": str(pairs.path)}, (pairs.images,))
        for number, pair in enumerate(pairs):
            case = known.get(pair.case_id)
            if case is not None and case.regions:
                images = exchanged_images(
                    pair.rejected,
                    which="all",
                    how="noise",
                    case=case,
                    image=pairs.images.get,
                    rng=np.random.default_rng(seed_of(seed, pair.case_id, number)),
                )
                if images:
                    rejected = with_images(
                        pair.rejected, images, lambda image: writer.images.put(ImagePart(0, image))
                    )
                    pair = replace(pair, rejected=rejected)
            writer.add(case, [pair])
        writer.finish()
    everyone(None)
    return PairFolder.open(out)
