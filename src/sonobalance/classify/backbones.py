"""A timm model by name, ready to be looked into."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from typing import Any

import timm
from timm.models import register_model
from timm.models.efficientnet import mobilenet_edgetpu_100
from torch import nn

from sonobalance.errors import InputError, SettingsError
from sonobalance.precision import speed_up


@register_model
def tf_mobilenet_edgetpu_100(pretrained: bool = False, **options: Any) -> nn.Module:
    """MobileNet-EdgeTPU as its TensorFlow weights were trained, which timm's own is not.

    Padding as TensorFlow's "same", no activation after the first block's 1 x 1 convolution, inputs
    in [-1, 1]. timm has no weights to download: they must be a local file in timm's names.
    """
    network = mobilenet_edgetpu_100(pretrained, pad_type="same", **options)
    network.blocks[0][0].bn1.act = nn.Identity()
    network.pretrained_cfg = network.pretrained_cfg | {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    return network


def make_backbone(
    name: str, classes: int, image_size_px: int, *, dropout: float = 0.0, pretrained: bool = False
) -> nn.Module:
    """A timm model ready for training: activations not in place, no layer slow in bfloat16.

    Raises:
        SettingsError: timm has no such model, or the model cannot take images of this size.
        InputError: the download failed.
    """
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=3)
        hint = f"; near: {', '.join(near)}." if near else "."
        raise SettingsError(
            f"Expected the name of a timm model as backbone, but got {name!r}{hint}"
        )
    create = partial(
        timm.create_model, name, pretrained=pretrained, num_classes=classes, drop_rate=dropout
    )
    try:
        model = _sized(create, image_size_px)
    except AssertionError as error:
        raise SettingsError(
            f"Expected `classifier.image_size_px` to suit {name}, but {image_size_px} does not "
            f"({error})."
        ) from None
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"Expected to download the weights of {name}, but {str(error).splitlines()[0]}; give a "
            "local file of weights instead."
        ) from error
    for module in model.modules():
        if getattr(module, "inplace", False):
            module.meant_in_place, module.inplace = True, False  # type: ignore[assignment]
    speed_up(model)
    return model


def meant_in_place(network: nn.Module) -> list[Any]:
    """Modules of `make_backbone` that timm lets overwrite their input; others must never do so."""
    return [module for module in network.modules() if getattr(module, "meant_in_place", False)]


def _sized(create: partial[nn.Module], image_size_px: int) -> nn.Module:
    """Transformers must be told the image size, convolutional networks do not know the word.

    Those that can also take another size, as frozen features are shown, unless patches of the
    image would be cut, which they then refuse.
    """
    with suppress(TypeError):
        model: Any = create(img_size=image_size_px, dynamic_img_size=True)
        sides = getattr(getattr(model, "patch_embed", None), "patch_size", (1,))
        if not any(image_size_px % side for side in sides):
            return model
    with suppress(TypeError):
        return create(img_size=image_size_px)
    return create()
