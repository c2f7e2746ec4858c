"""Names of columns, compared without blanks around them and without case: `User_ID ` is `user_id`.

A file's own spelling is only known where the file is read; all else speaks of the wanted names. What a table of users
or items calls its key is guessed from a short list, and only where one column is on it: a wrong key joins nothing.
"""

from collections.abc import Iterable, Sequence

from ray_userrep.logs.damage import OtherSchema

USUAL_KEYS = {
    "user_id": "user userid uid customer customerid customerno customernumber client clientid member memberid visitor "
    "visitorid account accountid kunde kundenid kundennr kundennummer nutzer nutzerid benutzer benutzerid",
    "item_id": "item itemid iid product productid productno productnumber article articleid articleno articlenumber "
    "sku asin stockcode artikel artikelid artikelnr artikelnummer produkt produktid produktnr produktnummer",
}


def plain(name: str) -> str:
    """A name as it is compared."""
    return name.strip().casefold()


def respelled(names: Sequence[str], wanted: Iterable[str], file: str) -> list[str]:
    """The columns of a file, spelled as the wanted ones where they differ in blanks and case only.

    Raises:
        OtherSchema: a wanted column is there twice.
    """
    asked = list(wanted)
    loose = {plain(name): name for name in asked if name not in names}
    found = [name if name in asked else loose.get(plain(name), name) for name in names]
    doubled = next((name for name in asked if found.count(name) > 1), None)
    if doubled is not None:
        own = ", ".join(repr(name) for name, told in zip(names, found, strict=True) if told == doubled)
        raise OtherSchema(f"{file} has column {doubled!r} more than once ({own}): rename all but one")
    return found


def keys_among(names: Sequence[str], key: str, asked: Iterable[str]) -> list[str]:
    """The columns that may hold the ids that are canonically called `key`: the first asked for, else all usual ones."""
    for name in (*asked, key):
        found = [one for one in names if plain(one) == plain(name)]
        if found:
            return found
    return [name for name in names if "".join(filter(str.isalnum, plain(name))) in USUAL_KEYS[key].split()]
