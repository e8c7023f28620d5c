"""Types of entities: the labels of their classes, and which classes are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import ElqError, Errors
from .item_store import ItemStore
from .items import ID, number_of

# "Wikimedia internal item", and those of its subclasses with most instances, for dumps that do not
# have these: pages for disambiguation, also of human names, lists, categories, templates, modules,
# project pages, duplicates.
INTERNAL = (17442446, 4167410, 22808320, 13406463, 4167836, 11266439, 15184295, 14204246, 17362920)


class EntityTypes:
    """Chooses entities by their classes, and says their types.

    store (ItemStore): Of a whole dump.
    wanted (Sequence[str]): Ids or labels of classes; all if empty.
    """

    def __init__(self, store: ItemStore, wanted: Sequence[str]) -> None:
        self._labels = store.class_labels()
        roots = [number for name in wanted for number in _classes_of(name, store)]
        self._wanted = store.subclasses(roots) if wanted else None
        self._internal = store.subclasses(INTERNAL) - (self._wanted or set())

    def reason_to_drop(self, classes: Sequence[int]) -> str:
        """RETURNS (str): Why an entity of these classes is left out; "" if it is not."""
        if not self._internal.isdisjoint(classes):
            return "pages of Wikimedia"
        if self._wanted is not None and self._wanted.isdisjoint(classes):
            return "of other types"
        return ""

    def type_of(self, classes: Sequence[int]) -> str:
        """RETURNS (str): The label of the first of the classes that has one, first of those asked
        for; "" if none has."""
        asked_for = [each for each in classes if self._wanted and each in self._wanted]
        labels = (self._labels.get(each, "") for each in (*asked_for, *classes))
        return next(filter(None, labels), "")


def _classes_of(name: str, store: ItemStore) -> Iterable[int]:
    if ID.fullmatch(name):
        return [number_of(name)]
    if not (found := store.items_with_label(name)):
        raise ElqError(Errors.ELQ367.format(name=name))
    return found
