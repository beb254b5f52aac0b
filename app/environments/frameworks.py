"""Which TensorFlow there is for which Python, under which package name, with which companions.

The table was read off the wheels on PyPI (``pip index versions NAME --python-version …``), and
each series was installed, imported, trained with and saved from under the Python named in its row.
TensorFlow's old wheels leave their dependencies open upwards, so that a plain install of an old
series today gets companions that did not exist then and fails at import; an era holds them back.
"""

import re
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet

PythonMinor = tuple[int, int]

TENSORFLOW_NAMES = frozenset(
    {"tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tensorflow-macos"}
)
_FIRST_WITH_CPU_PACKAGE = (2, 1)
_LAST_WITH_GPU_PACKAGE = (2, 0)
_FIRST_WITH_CUDA_EXTRA = (2, 14)
_HIGHEST_PATCH_TRIED = 9


@dataclass(frozen=True)
class Era:
    """What has to be held back, and added, for a span of TensorFlow series to import today."""

    constraints: tuple[str, ...]
    extra_requirements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """One TensorFlow minor series and the Pythons its wheels were built for."""

    number: tuple[int, int]
    python_min: PythonMinor
    python_max: PythonMinor
    era: Era

    @property
    def name(self) -> str:
        """E.g. ``2.15``."""
        return f"{self.number[0]}.{self.number[1]}"

    def supports(self, python: PythonMinor) -> bool:
        """Whether there are wheels of this series for that Python."""
        return self.python_min <= python <= self.python_max


# protobuf 3.21 refuses generated code of before 3.19; tensorboard imports pkg_resources, which
# setuptools dropped in 82; h5py 3 reads strings as str, which Keras before 2.4 decodes; numpy 1.20
# breaks symbolic tensors, 1.24 dropped np.object, 2.0 the binary interface; gast 0.3 renamed nodes.
_GAST = Era(("gast==0.2.2", "h5py<3", "numpy<1.19", "protobuf<3.21", "setuptools<81"))
_GAST_WITHOUT_H5PY = Era(_GAST.constraints, extra_requirements=("h5py",))
_FIRST_KERAS = Era(("h5py<3", "numpy<1.19", "protobuf<3.21", "setuptools<81"))
_H5PY_2 = Era(("h5py<3", "numpy<1.20", "protobuf<3.21", "setuptools<81"))
_NUMPY_1_19 = Era(("numpy<1.20", "protobuf<3.21", "setuptools<81"))
_NUMPY_1_23 = Era(("numpy<1.24", "protobuf<3.21", "setuptools<81"))
_NUMPY_1 = Era(("numpy<2", "setuptools<81"))
_NUMPY_2 = Era(("setuptools<81",))
# 2.21 no longer brings tensorboard, without which tf.summary and the Keras callback fail.
_WITHOUT_TENSORBOARD = Era(_NUMPY_2.constraints, extra_requirements=("tensorboard",))

_TABLE = (
    Series((1, 10), (3, 4), (3, 6), _GAST_WITHOUT_H5PY),
    Series((1, 11), (3, 4), (3, 6), _GAST),
    Series((1, 12), (3, 4), (3, 6), _GAST),
    Series((1, 13), (3, 4), (3, 7), _GAST),
    Series((1, 14), (3, 4), (3, 7), _GAST),
    Series((1, 15), (3, 5), (3, 7), _FIRST_KERAS),
    Series((2, 0), (3, 5), (3, 7), _FIRST_KERAS),
    Series((2, 1), (3, 5), (3, 7), _FIRST_KERAS),
    Series((2, 2), (3, 5), (3, 8), _H5PY_2),
    Series((2, 3), (3, 5), (3, 8), _H5PY_2),
    Series((2, 4), (3, 6), (3, 8), _NUMPY_1_19),
    Series((2, 5), (3, 6), (3, 9), _NUMPY_1_19),
    Series((2, 6), (3, 6), (3, 9), _NUMPY_1_19),
    Series((2, 7), (3, 7), (3, 9), _NUMPY_1_23),
    Series((2, 8), (3, 7), (3, 10), _NUMPY_1_23),
    Series((2, 9), (3, 7), (3, 10), _NUMPY_1_23),
    Series((2, 10), (3, 7), (3, 10), _NUMPY_1_23),
    Series((2, 11), (3, 7), (3, 10), _NUMPY_1_23),
    Series((2, 12), (3, 8), (3, 11), _NUMPY_1),
    Series((2, 13), (3, 8), (3, 11), _NUMPY_1),
    Series((2, 14), (3, 9), (3, 11), _NUMPY_1),
    Series((2, 15), (3, 9), (3, 11), _NUMPY_1),
    Series((2, 16), (3, 9), (3, 12), _NUMPY_1),
    Series((2, 17), (3, 9), (3, 12), _NUMPY_1),
    Series((2, 18), (3, 9), (3, 12), _NUMPY_2),
    Series((2, 19), (3, 9), (3, 12), _NUMPY_2),
    Series((2, 20), (3, 9), (3, 13), _NUMPY_2),
    Series((2, 21), (3, 10), (3, 13), _WITHOUT_TENSORBOARD),
)


def known_series() -> list[Series]:
    """All series of the table, the newest first."""
    return sorted(_TABLE, key=lambda series: series.number, reverse=True)


def matching_series(version: str | None) -> list[Series]:
    """The series that a requested version allows, the newest first.

    A series newer than the table counts as like the newest known one, so that the table's age does
    not forbid what the package index may have.

    Args:
        version: ``"2"``, ``"2.15"``, ``"2.15.1"`` or None for any.
    """
    if version is None:
        return known_series()
    numbers = _numbers(version)
    if len(numbers) == 1:
        return [series for series in known_series() if series.number[0] == numbers[0]]
    number = (numbers[0], numbers[1])
    newest = known_series()[0]
    if number > newest.number:
        return [Series(number, newest.python_min, newest.python_max, newest.era)]
    return [series for series in known_series() if series.number == number]


def series_allowed_by(specifiers: SpecifierSet) -> list[Series]:
    """The series of which some release may satisfy the specifiers, the newest first."""
    return [
        series
        for series in known_series()
        if any(
            specifiers.contains(f"{series.name}.{patch}") for patch in range(_HIGHEST_PATCH_TRIED)
        )
    ]


def package_name(series: Series, *, use_gpu: bool, platform_name: str) -> str:
    """What the series is called on the package index, with an extra where it needs one.

    Args:
        series: the series.
        use_gpu: whether CUDA support is wanted.
        platform_name: e.g. ``linux-x86_64``; elsewhere there is one package for all.
    """
    if platform_name != "linux-x86_64":
        return "tensorflow"
    if not use_gpu:
        return "tensorflow-cpu" if series.number >= _FIRST_WITH_CPU_PACKAGE else "tensorflow"
    if series.number <= _LAST_WITH_GPU_PACKAGE:
        return "tensorflow-gpu"
    has_extra = series.number >= _FIRST_WITH_CUDA_EXTRA
    return "tensorflow[and-cuda]" if has_extra else "tensorflow"


def version_specifier(series: Series, version: str | None) -> str:
    """``==2.15.1`` for an exact request, else ``==2.15.*``."""
    is_exact = version is not None and len(_numbers(version)) > 2
    return f"=={version}" if is_exact else f"=={series.name}.*"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]
