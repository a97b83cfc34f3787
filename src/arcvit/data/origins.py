"""Where the data sets behind the benchmark tasks come from: page, size, and terms of use.

Pages are those that VTAB (google-research/task_adaptation) and VPT (KMnP/vpt) name, or what took
their place. Downloads are the archives that a task needs, as tensorflow_datasets records their
sizes (``url_checksums``); that of RESISC45 is the size of a copy, that of Diabetic Retinopathy what
Kaggle tells. Terms are what the authors' pages or archives say, of Oxford-IIIT Pet as copies that
cite its page do; where they say nothing, or it couldn't be looked up, this says so. It is no legal
advice: the page decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A data set as its authors publish it."""

    name: str
    """What its authors call it."""
    page: str
    """Its home page."""
    images: int
    """Labelled images in the download; a task of VTAB-1k has fewer."""
    download_bytes: int | None
    """Size of the archives; None: not known."""
    terms: str
    """Licence, or terms of use."""


_NONE = "no licence given"
_RESEARCH = "non-commercial research and education"

_CIFAR = Origin(
    name="CIFAR-100",
    page="https://www.cs.toronto.edu/~kriz/cifar.html",
    images=60_000,
    download_bytes=168_513_733,
    terms=_NONE,
)
_CALTECH = Origin(
    name="Caltech 101",
    page="https://data.caltech.edu/records/mzrjq-6wc02",
    images=9_144,
    download_bytes=131_740_031,
    terms="CC BY 4.0",
)
_DTD = Origin(
    name="Describable Textures Dataset",
    page="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    images=5_640,
    download_bytes=625_239_812,
    terms="for research purposes; no licence given",
)
_FLOWERS = Origin(
    name="Oxford 102 Flowers",
    page="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    images=8_189,
    download_bytes=344_878_000,
    terms=_NONE,
)
_PETS = Origin(
    name="Oxford-IIIT Pet",
    page="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    images=7_349,
    download_bytes=811_092_049,
    terms="CC BY-SA 4.0; the photos belong to their owners",
)
_SVHN = Origin(
    name="SVHN (cropped digits, without extra)",
    page="http://ufldl.stanford.edu/housenumbers/",
    images=99_289,
    download_bytes=246_316_178,
    terms="non-commercial use only",
)
_SUN = Origin(
    name="SUN397",
    page="https://vision.princeton.edu/projects/2010/SUN/",
    images=108_754,
    download_bytes=39_095_590_629,
    terms="licence unknown: see the page",
)
_CAMELYON = Origin(
    name="PatchCamelyon",
    page="https://github.com/basveeling/pcam",
    images=327_680,
    download_bytes=8_028_222_167,
    terms="CC0",
)
_EUROSAT = Origin(
    name="EuroSAT (RGB)",
    page="https://github.com/phelber/EuroSAT",
    images=27_000,
    download_bytes=94_280_567,
    terms="MIT",
)
_RESISC = Origin(
    name="NWPU-RESISC45",
    page="https://gcheng-nwpu.github.io/",
    images=31_500,
    download_bytes=427_000_000,
    terms="licence unknown: copies name different ones",
)
_RETINOPATHY = Origin(
    name="Diabetic Retinopathy Detection",
    page="https://www.kaggle.com/c/diabetic-retinopathy-detection",
    images=88_702,
    download_bytes=88_290_000_000,
    terms="the rules of the competition on Kaggle, to be accepted there",
)
_CLEVR = Origin(
    name="CLEVR 1.0",
    page="https://cs.stanford.edu/people/jcjohns/clevr/",
    images=85_000,
    download_bytes=19_021_600_724,
    terms="CC BY 4.0",
)
_DMLAB = Origin(
    name="Dmlab Frames",
    page="https://github.com/google-research/task_adaptation",
    images=110_913,
    download_bytes=3_017_022_789,
    terms="no licence given for the images; the code is under Apache 2.0",
)
_KITTI = Origin(
    name="KITTI (object detection, left colour images)",
    page="https://www.cvlibs.net/datasets/kitti/",
    images=7_481,
    download_bytes=12_575_610_548,
    terms="CC BY-NC-SA 3.0",
)
_DSPRITES = Origin(
    name="dSprites",
    page="https://github.com/google-deepmind/dsprites-dataset",
    images=737_280,
    download_bytes=28_024_106,
    terms="Apache 2.0",
)
_NORB = Origin(
    name="small NORB",
    page="https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/",
    images=48_600,
    download_bytes=262_778_180,
    terms="for research purposes; it cannot be sold",
)
_CUB = Origin(
    name="Caltech-UCSD Birds-200-2011",
    page="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    images=11_788,
    download_bytes=1_150_585_339,
    terms="no licence in the archive; the photos are from Flickr",
)
_NABIRDS = Origin(
    name="NABirds",
    page="https://dl.allaboutbirds.org/nabirds",
    images=48_562,
    download_bytes=None,
    terms="the terms of use on its page, to be accepted there",
)
_DOGS = Origin(
    name="Stanford Dogs",
    page="http://vision.stanford.edu/aditya86/ImageNetDogs/",
    images=20_580,
    download_bytes=815_912_960,
    terms=f"{_NONE}; the photos are from ImageNet, for {_RESEARCH}",
)
_CARS = Origin(
    name="Stanford Cars",
    page="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    images=16_185,
    download_bytes=1_957_136_468,
    terms=f"{_NONE}; the page is no longer there, only copies are",
)

ORIGINS: Mapping[str, Origin] = MappingProxyType(
    {
        "cifar": _CIFAR,
        "caltech101": _CALTECH,
        "dtd": _DTD,
        "oxford_flowers102": _FLOWERS,
        "oxford_iiit_pet": _PETS,
        "svhn": _SVHN,
        "sun397": _SUN,
        "patch_camelyon": _CAMELYON,
        "eurosat": _EUROSAT,
        "resisc45": _RESISC,
        "diabetic_retinopathy": _RETINOPATHY,
        "clevr_count": _CLEVR,
        "clevr_dist": _CLEVR,
        "dmlab": _DMLAB,
        "kitti": _KITTI,
        "dsprites_loc": _DSPRITES,
        "dsprites_ori": _DSPRITES,
        "smallnorb_azi": _NORB,
        "smallnorb_ele": _NORB,
        "CUB_200_2011": _CUB,
        "NABirds": _NABIRDS,
        "OxfordFlowers": _FLOWERS,
        "StanfordDogs": _DOGS,
        "StanfordCars": _CARS,
    }
)
"""By the task's name."""
