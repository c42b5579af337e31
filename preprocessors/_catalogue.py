"""The weights that preprocessors are made of: where they are published, and under which licence.

Nothing here is loaded or fetched; `_weights` looks for the files and `_download` gets them.
"""

# Sources: the files' pages on the Hugging Face hub. Sizes and sums are those of the hub's Git LFS
# pointers, as two or more public projects that pin the same files quote them: a wrong one would
# refuse a good file. `megabytes` stands where no exact size is known and is for people alone.

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

FOLDER = ("config.json", "model.safetensors")  # what transformers reads; we scale pictures
OTHER_NAME = {"model.safetensors": "pytorch_model.bin"}  # the same weights in older repositories


@dataclass(frozen=True)
class Checkpoint:
    """One set of weights: a file of a hub repository, or a folder that transformers reads.

    `files` are paths inside `repo`. `size` (bytes) and `sha256` are of a single file, and exact.
    `a1111` is the path below the folder annotator/downloads of sd-webui-controlnet. `commercial`
    tells whether the licence allows it, None where that is unclear. `instead` names the entry
    with the same weights in another form, which serves as well.
    """

    id: str
    repo: str
    files: tuple[str, ...]
    licence: str
    commercial: bool | None
    size: int | None = None
    sha256: str | None = None
    megabytes: float | None = None
    a1111: str | None = None
    instead: str | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it is found as a folder with a configuration, not as one file."""
        return "config.json" in self.files

    @property
    def name(self) -> str:
        """What messages call it: the file's own name, or the repository's."""
        return self.repo if self.is_folder else PurePosixPath(self.files[0]).name

    @property
    def weight(self) -> str:
        """Its size in words."""
        if self.size is not None:
            return f"{self.size:,} bytes"
        return "size unknown" if self.megabytes is None else f"about {self.megabytes:g} MB"

    @property
    def terms(self) -> str:
        """Its licence in words, for a tooltip."""
        commercial = {True: "allowed", False: "not allowed", None: "unclear"}[self.commercial]
        return f"{self.licence}; commercial use {commercial}"


def _annotators(
    id: str, file: str, a1111: str, licence: str, commercial: bool | None,
    size: int | None = None, sha256: str | None = None, megabytes: float | None = None,
) -> Checkpoint:
    """A file of the repository that ControlNet's author collected."""
    return Checkpoint(
        id, "lllyasviel/Annotators", (file,), licence, commercial, size, sha256, megabytes,
        a1111=f"{a1111}/{file}",
    )


def _folder(
    id: str, repo: str, licence: str, commercial: bool | None, megabytes: float | None = None,
    instead: str | None = None,
) -> Checkpoint:
    return Checkpoint(
        id, repo, FOLDER, licence, commercial, megabytes=megabytes, instead=instead
    )


NON_COMMERCIAL = "CC-BY-NC-4.0"

LINES = (
    _annotators(
        "hed", "ControlNetHED.pth", "hed", "Apache-2.0", True, 29_444_406,
        "5ca93762ffd68a29fee1af9d495bf6aab80ae86f08905fb35472a083a4c7a8fa",
    ),
    _annotators(
        "pidinet", "table5_pidinet.pth", "pidinet", "research only, ask its authors", False, None,
        "80860ac267258b5f27486e0ef152a211d0b08120f62aeb185a050acc30da486c", 2.87,
    ),
    Checkpoint(
        "teed", "bdsqlsz/qinglong_controlnet-lllite", ("Annotators/7_model.pth",), "MIT", True,
        None, "b9037964149c55156c6adbffdfbd7e8ca7d2ef2a4d90573520efa7f3a1aacf06", 0.25,
        a1111="TEED/7_model.pth",
    ),
    Checkpoint(
        "mteed", "TheMistoAI/MistoLine", ("Anyline/MTEED.pth",), "unclear, see MistoLine#3", None,
        None, "a3c2d8a8ce9422555c787160bd46362d761325a565333c0e3f6a53e0bae2abdb", 0.25,
        a1111="TEED/MTEED.pth",
    ),
    _annotators(
        "lineart", "sk_model.pth", "lineart", "MIT", True, 17_173_511,
        "c686ced2a666b4850b4bb6ccf0748031c3eda9f822de73a34b8979970d90f0c6",
    ),
    _annotators(
        "lineart_coarse", "sk_model2.pth", "lineart", "MIT", True, 17_173_511,
        "30a534781061f34e83bb9406b4335da4ff2616c95d22a585c1245aa8363e74e0",
    ),
    _annotators(
        "lineart_anime", "netG.pth", "lineart_anime", "MIT", True, 217_631_959,
        "ccabdcc3f5cf3c07cf65d58776acb21df7dfda825cdc70c9766a93fd62bfc488",
    ),
    _annotators(
        "lineart_manga", "erika.pth", "manga_line", "MIT", True, 172_789_563,
        "badbd6baf013cefbd98993307b02cc14a26c770d067416e4fdecc8720b88feeb",
    ),
    _annotators(
        "mlsd", "mlsd_large_512_fp32.pth", "mlsd", "Apache-2.0", True, 6_341_481,
        "5696f168eb2c30d4374bbfd45436f7415bb4d88da29bea97eea0101520fba082",
    ),
)

NORMALS = (
    _annotators(
        "normal_bae", "scannet.pt", "normal_bae", "MIT", True, None,
        "03dbf1600c51ee3d45c29f77b77bf1a3b7a24c3452dba62a4ae658f37330c209", 291,
    ),
)


def _depth_anything_v2(
    size: str, letter: str, licence: str, commercial: bool, count: int, sha256: str
) -> Iterable[Checkpoint]:
    """The folder for transformers, and the file of its authors with the same weights."""
    name, repo = f"depth_anything_v2_{size}", f"depth-anything/Depth-Anything-V2-{size.title()}"
    file = f"depth_anything_v2_vit{letter}.pth"
    original = Checkpoint(
        f"{name}_pth", repo, (file,), licence, commercial, count, sha256,
        a1111=f"depth_anything_v2/{file}",
    )
    yield _folder(name, f"{repo}-hf", licence, commercial, count / 1e6, instead=original.id)
    yield original


def _depth_anything_v2_metric(place: str, data: str) -> Iterable[Checkpoint]:
    """The same in metres; licences differ: the folder's page says Apache-2.0, the file's NC."""
    name = f"depth_anything_v2_{place}"
    original = Checkpoint(
        f"{name}_pth", f"depth-anything/Depth-Anything-V2-Metric-{data}-Large",
        (f"depth_anything_v2_metric_{data.lower()}_vitl.pth",), NON_COMMERCIAL, False,
        megabytes=1341,
    )
    yield _folder(
        name, f"depth-anything/Depth-Anything-V2-Metric-{place.title()}-Large-hf",
        "Apache-2.0 by its page, CC-BY-NC-4.0 by its authors", None, 1341, instead=original.id,
    )
    yield original


DEPTHS = (
    *_depth_anything_v2(
        "small", "s", "Apache-2.0", True, 99_218_434,
        "715fade13be8f229f8a70cc02066f656f2423a59effd0579197bbf57860e1378",
    ),
    *_depth_anything_v2(
        "base", "b", NON_COMMERCIAL, False, 389_961_218,
        "0d2b7002e62d39d655571c371333340bd88f67ab95050c03591555aa05645328",
    ),
    *_depth_anything_v2(
        "large", "l", NON_COMMERCIAL, False, 1_341_395_338,
        "a7ea19fa0ed99244e67b624c72b8580b7e9553043245905be58796a608eb9345",
    ),
    *_depth_anything_v2_metric("indoor", "Hypersim"),
    *_depth_anything_v2_metric("outdoor", "VKITTI"),
    *(
        _folder(f"depth_anything_{size}", f"LiheYoung/depth-anything-{size}-hf", "Apache-2.0", True)
        for size in ("small", "base", "large")
    ),
    _folder("zoedepth", "Intel/zoedepth-nyu-kitti", "MIT", True, 1380),
    _folder("dpt_hybrid", "Intel/dpt-hybrid-midas", "Apache-2.0", True, 490),
    _folder("dpt_large", "Intel/dpt-large", "Apache-2.0", True),
    _folder("depth_pro", "apple/DepthPro-hf", "Apple AMLR", None, 1900),
)

SEGMENTS = (
    _folder("oneformer_ade20k", "shi-labs/oneformer_ade20k_swin_large", "MIT", True, 880),
    _folder("oneformer_coco", "shi-labs/oneformer_coco_swin_large", "MIT", True, 879),
    _folder(
        "mask2former_ade20k", "facebook/mask2former-swin-large-ade-semantic",
        "MIT code, weights unclear", None, 866,
    ),
    _folder(
        "mask2former_coco", "facebook/mask2former-swin-large-coco-panoptic",
        "MIT code, weights unclear", None, 866,
    ),
    _folder(
        "segformer_ade20k", "nvidia/segformer-b5-finetuned-ade-640-640",
        "NVIDIA Source Code License, research only", False,
    ),
    _folder("upernet_ade20k", "openmmlab/upernet-swin-large", "MIT", True, 940),
    *(
        _folder(f"sam_{size}", f"facebook/sam-vit-{size}", "Apache-2.0", True, megabytes)
        for size, megabytes in (("base", 375), ("large", None), ("huge", None))
    ),
)

POSES = (
    Checkpoint(
        "dwpose_detector", "yzd-v/DWPose", ("yolox_l.onnx",), "Apache-2.0", True, 216_746_733,
        "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
        a1111="openpose/yolox_l.onnx",
    ),
    Checkpoint(
        "dwpose", "yzd-v/DWPose", ("dw-ll_ucoco_384.onnx",), "Apache-2.0", True, 134_399_116,
        "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
        a1111="openpose/dw-ll_ucoco_384.onnx",
    ),
    _folder("rtdetr", "PekingU/rtdetr_r50vd_coco_o365", "Apache-2.0", True, 172),
    _folder("vitpose", "usyd-community/vitpose-base-simple", "Apache-2.0", True),
)

CATALOGUE: dict[str, Checkpoint] = {
    each.id: each for each in (*LINES, *NORMALS, *DEPTHS, *SEGMENTS, *POSES)
}

