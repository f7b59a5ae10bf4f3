"""Store static files hashed and compressed; before they are collected, serve them as they are."""

from servestatic.storage import CompressedManifestStaticFilesStorage


class AssetStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # untyped
    """Hashed names once `collectstatic` has run, plain names until then (`runserver`, tests)."""

    manifest_strict = False
    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        return str(super().stored_name(name)) if self.hashed_files else name
