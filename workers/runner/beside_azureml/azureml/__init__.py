"""Lies before the real azureml packages, and changes how azureml-core uploads files.

The package sends files to https://ACCOUNT.blob.SUFFIX alone, whatever address it was given. Here,
an address that was given out by the API is written to as it is (decision 22).
"""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

_UPLOADS = "azureml._file_utils.upload"
_GIVEN_OUT = "/artifact/signed/"
_SECONDS = 600


def _patched(upload):
    def upload_blob_from_stream(stream, url, content_type=None, session=None, **options):
        if _GIVEN_OUT not in url:
            return upload(stream, url, content_type=content_type, session=session, **options)
        # The package's session tries again what failed on the way.
        answer = session.put(url, data=stream, timeout=_SECONDS)
        if answer.status_code >= 400:
            raise RuntimeError("the file was refused: " + answer.text)
        return answer

    return upload_blob_from_stream


class _PatchingLoader(Loader):
    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        module.upload_blob_from_stream = _patched(module.upload_blob_from_stream)


class _Finder(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname != _UPLOADS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None:
            spec.loader = _PatchingLoader(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
