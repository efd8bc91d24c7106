"""What the estimators use of scikit-learn, or the error that names the package to install."""

from pyrovae.errors import MissingExtraError

try:
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        OneToOneFeatureMixin,
        OutlierMixin,
        TransformerMixin,
    )
    from sklearn.utils import check_array, check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise MissingExtraError(
        "the estimators require scikit-learn 1.6 or newer, which is not installed. Write pip install 'pyrovae[data]'."
    ) from error

__all__ = [
    "BaseEstimator",
    "ClassNamePrefixFeaturesOutMixin",
    "OneToOneFeatureMixin",
    "OutlierMixin",
    "TransformerMixin",
    "check_array",
    "check_is_fitted",
    "check_random_state",
    "validate_data",
]
