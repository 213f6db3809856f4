"""Which images are drawn and encoded on the event loop: those for which a thread gains nothing."""

import asyncio
import threading

import numpy as np
import pytest
from PIL import Image

from medgym.agents.openai.chat_messages import ImageURIs
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.study import Study
from medgym.messages import ImagePart, Message
from medgym.shared_pictures import shared_picture


@pytest.mark.parametrize(("side", "inline"), [(64, True), (512, True), (1024, False)])
def test_a_small_view_of_a_large_image_holds_up_no_other_episode(side: int, inline: bool) -> None:
    opened = OpenedImage.of(Study(np.zeros((side, side), np.uint8)))
    picture = shared_picture(opened, ImagePlace(), (0.0, 0.0, side, side), (64, 64))
    draw, drawn = picture._draw, list[bool]()

    def noting() -> Image.Image:
        drawn.append(threading.current_thread() is threading.main_thread())
        return draw()

    picture._draw = noting
    asyncio.run(ImageURIs().prepare([Message("user", (ImagePart(0, picture),))]))
    assert drawn == [inline]
    assert picture.png is not None
