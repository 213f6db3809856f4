"""The Basic Application Level Confidentiality Profile of DICOM (PS3.15, annex E) on a data set.

The table of the profile is that of `dicom-anonymizer`, generated from the standard. It is applied
to the items of sequences too. What the table does not list is kept where it describes the image in
numbers, codes and a few texts, and removed where it is free text, a date or bytes of any kind.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from medgym.privacy.identifiers import Identifiers, is_telling

TABLE = "2026c"
"""The edition of the standard whose table is applied."""


def _named(names: str) -> frozenset[str]:
    return frozenset(names.split())


Change = tuple[str, str]
"""The keyword of an element, and what was done: `removed`, `emptied`, `replaced`, `new UID`."""

_OF_THE_STANDARD = re.compile(r"1\.2\.840\.10008(\.\d{1,4})+")
"""UIDs that the standard itself names; a longer number below its root is somebody's."""

_IDENTITY = _named(
    "PatientID IssuerOfPatientID OtherPatientIDs AccessionNumber StudyID InstitutionName "
    "InstitutionAddress InstitutionalDepartmentName PatientAddress PatientTelephoneNumbers "
    "DeviceSerialNumber StationName CountryOfResidence RegionOfResidence MedicalRecordLocator "
    "InsurancePlanIdentification PatientBirthName PatientMotherBirthName MilitaryRank "
    "AdmissionID ServiceEpisodeID ReferringPhysicianAddress "
    "ReferringPhysicianTelephoneNumbers"
)
"""Whose whole text is an identifier."""

_KEPT_TEXTS = _named(
    "Manufacturer ManufacturerModelName CodeValue LongCodeValue CodingSchemeDesignator "
    "CodingSchemeVersion CodeMeaning ConvolutionKernel RescaleType ModalityLUTType LUTExplanation "
    "WindowCenterWidthExplanation SequenceName PulseSequenceName SegmentLabel "
    "SegmentAlgorithmName ImagedNucleus FilterType TransducerType LUTLabel"
)
"""Free texts that say how an image was made and what its values mean."""

_SCHEMES = _named("DCM SCT SRT SNM3 UCUM LN RADLEX FMA UMLS MDC NCIt ICD10")
"""Coding schemes whose codes are long numbers and tell nothing of a patient."""

_BYTES = _named(
    "PixelData FloatPixelData DoubleFloatPixelData LUTData RedPaletteColorLookupTableData "
    "GreenPaletteColorLookupTableData BluePaletteColorLookupTableData "
    "AlphaPaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData "
    "SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData "
    "PixelPaddingValue PixelPaddingRangeLimit SmallestImagePixelValue LargestImagePixelValue "
    "ExtendedOffsetTable ExtendedOffsetTableLengths"
)
"""Elements of bytes that are pixels, tables of grey and colour, or places of frames."""

_TEXTS = _named("LO LT SH ST UC UT PN AE UR")
_TIMES = _named("DA DT TM AS")
_RAW = _named("OB OD OF OL OV OW UN")
_CODE = re.compile(r"(?!.*\d{6})[A-Za-z0-9 _]{0,16}")
_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*")
_OWN = _named(
    "PatientID PatientName PatientIdentityRemoved DeidentificationMethod "
    "DeidentificationMethodCodeSequence SpecificCharacterSet"
)


class Profile:
    """Applies the profile; the same UID gets the same new one in all files, and each patient the
    same number.

    Attributes:
        times: what stands in the place of a time of acquisition, by series and time.
    """

    def __init__(self) -> None:
        from dicomanonymizer import simpledicomanonymizer as library

        rules: dict[tuple[int, ...], Any] = library.initialize_actions(f"dicomfields_{TABLE}")
        self._library = library
        self._library.dictionary.clear()
        self._rules = {rule: action for rule, action in rules.items() if len(rule) == 2}
        self._ranges = [(rule, action) for rule, action in rules.items() if len(rule) > 2]
        self._patients: dict[str, str] = {}
        self.times: dict[tuple[str, str], str] = {}

    def new_uid(self, uid: str) -> str:
        """The UID in the place of another one; a UID of the standard stays."""
        if _OF_THE_STANDARD.fullmatch(uid):
            return uid
        return str(self._library.get_UID(uid))

    def patient(self, dataset: Any) -> str:
        """What stands in the place of a patient's number: the same for the same patient."""
        key = str(dataset.get("PatientID") or "") or str(dataset.get("PatientName") or "")
        return self._patients.setdefault(key, f"patient-{len(self._patients) + 1:04}")

    def apply(self, dataset: Any, method: str) -> tuple[Identifiers, Counter[Change]]:
        """De-identify a data set.

        Args:
            method: how, as the file itself shall say it.

        Returns:
            The identifiers that its texts held, and what was done to which elements.
        """
        found = Identifiers()
        changes: Counter[Change] = Counter()
        _drop_unreadable(dataset, changes)
        self._gather(dataset, found, removed=False)
        patient = self.patient(dataset)
        series, time = dataset.get("SeriesInstanceUID"), dataset.get("AcquisitionTime")
        self._clean(dataset, found, changes)
        dataset.PatientID = patient
        if "AcquisitionTime" in dataset and (str(series), str(time)) in self.times:
            dataset.AcquisitionTime = self.times[str(series), str(time)]
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = method
        dataset.DeidentificationMethodCodeSequence = [_code()]
        return found, changes

    def left(self, dataset: Any, found: Identifiers) -> list[str]:
        """The keywords of elements that still hold an identifier, or that should not be there."""
        wrong = []
        for element in _elements(dataset):
            name = _keyword(element)
            if element.tag.is_private or element.tag.group > 0x7FE0:
                wrong.append(name)
            elif element.VR == "UI":
                known = self._library.dictionary
                wrong += [name for each in _texts(element) if each in known]
            elif name not in _OWN and self._action(element) is None:
                wrong += [name] * self._tells(element, found)
        return wrong

    def _action(self, element: Any) -> Any:
        group, number = element.tag.group, element.tag.element
        action = self._rules.get((group, number))
        if action is None:
            for (low, each, groups, numbers), ranged in self._ranges:
                if group & groups == low & groups and number & numbers == each & numbers:
                    return ranged
        return action

    def _gather(self, dataset: Any, found: Identifiers, removed: bool) -> None:
        for element in list(dataset):
            gone = removed or self._goes(element, dataset)
            if element.VR == "SQ":
                for item in element.value or ():
                    self._gather(item, found, gone and self._action(element) is not None)
            elif gone or element.keyword in _IDENTITY or element.VR == "PN":
                for text in _texts(element):
                    if element.VR == "PN":
                        found.add_name(text)
                    elif element.keyword in _IDENTITY:
                        found.add_whole(text)
                    elif element.VR not in ("UI", "DS", "IS"):
                        found.add_text(text)

    def _goes(self, element: Any, dataset: Any) -> bool:
        return (
            element.tag.is_private
            or self._action(element) is not None
            or not self._is_description(element, dataset)
        )

    def _clean(self, dataset: Any, found: Identifiers, changes: Counter[Change]) -> None:
        for element in list(dataset):
            tag, name = element.tag, _keyword(element)
            action = self._action(element)
            if name in ("PatientIdentityRemoved", "SpecificCharacterSet"):
                continue
            if tag.is_private or tag.group > 0x7FE0 or _is_drawn(tag):
                del dataset[tag]
                changes[("private elements" if tag.is_private else name, "removed")] += 1
            elif action is not None:
                self._act(dataset, element, action, name, found, changes)
            elif element.VR == "SQ":
                for item in element.value or ():
                    self._clean(item, found, changes)
            elif element.VR == "UI":
                self._rename(element, name, changes)
            elif not self._is_description(element, dataset) or self._tells(element, found):
                del dataset[tag]
                changes[(name, "removed")] += 1

    def _act(
        self, dataset: Any, element: Any, action: Any, name: str, found: Identifiers,
        changes: Counter[Change],
    ) -> None:  # fmt: skip
        tag, library = element.tag, self._library
        if element.VR == "SQ":
            if action is library.delete_or_empty_or_replace_UID:
                for item in element.value or ():  # references to other images, by their new UIDs
                    self._clean(item, found, changes)
            elif action is library.delete:
                del dataset[tag]
                changes[(name, "removed")] += 1
            else:
                dataset[tag].value = []
                changes[(name, "emptied")] += 1
            return
        if element.VR == "UI" and action is not library.delete:
            self._rename(element, name, changes)
            return
        before = element.value
        try:
            action(dataset, (tag.group, tag.element))
        except NotImplementedError:  # bytes of a kind that have no dummy
            del dataset[tag]
        if tag not in dataset:
            changes[(name, "removed")] += 1
        elif dataset[tag].value != before:
            changes[(name, "replaced" if dataset[tag].value else "emptied")] += 1

    def _rename(self, element: Any, name: str, changes: Counter[Change]) -> None:
        old = _texts(element)
        new = [self.new_uid(uid) for uid in old]
        if new != old:
            element.value = new if len(new) > 1 else new[0]
            changes[(name, "new UID")] += 1

    def _is_description(self, element: Any, dataset: Any) -> bool:
        """Whether an element that the table does not list describes the image."""
        kind, name = element.VR, element.keyword
        if not name:
            return False
        if kind in _RAW:
            return name in _BYTES
        if kind in ("DS", "IS"):
            return all(_NUMBER.fullmatch(text) for text in _texts(element))
        if kind == "CS":
            return all(_CODE.fullmatch(text) for text in _texts(element))
        if kind in _TIMES:
            return False
        if kind in _TEXTS:
            if name not in _KEPT_TEXTS:
                return False
            known = "Code" in name and dataset.get("CodingSchemeDesignator") in _SCHEMES
            return known or not any(is_telling(text) for text in _texts(element))
        return True

    def _tells(self, element: Any, found: Identifiers) -> bool:
        if element.VR in ("DS", "IS"):
            return any(found.are_number(text) for text in _texts(element))
        if element.VR not in (*_TEXTS, "CS"):
            return False
        return any(found.are_in(text) for text in _texts(element))


def _drop_unreadable(dataset: Any, changes: Counter[Change]) -> None:
    """Remove the elements whose values are not of the kind that they should be."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            _texts(element)
        except Exception:
            del dataset[tag]
            changes[(f"({tag.group:04X},{tag.element:04X})", "removed")] += 1
            continue
        if element.VR == "SQ":
            for item in element.value or ():
                _drop_unreadable(item, changes)


def _is_drawn(tag: Any) -> bool:
    """Whether an element belongs to an overlay or a curve, which may draw text."""
    return int(tag.group) >> 8 in (0x50, 0x60)


def _keyword(element: Any) -> str:
    return element.keyword or f"({element.tag.group:04X},{element.tag.element:04X})"


def _elements(dataset: Any) -> Iterator[Any]:
    for element in dataset:
        yield element
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _elements(item)


def _texts(element: Any) -> list[str]:
    """The values of an element as texts; bytes as those of the Latin alphabet."""
    value = element.value
    if value is None:
        return []
    if isinstance(value, bytes):
        return [value[:4096].decode("latin-1")]
    several = not isinstance(value, str) and hasattr(value, "__iter__") and element.VR != "PN"
    if element.VR == "PN" and type(value).__name__ == "MultiValue":
        several = True
    return [_text(each) for each in value] if several else [_text(value)]


def _text(value: Any) -> str:
    original = getattr(value, "original_string", None)
    return str(original if isinstance(original, str) else value)


def _code() -> Any:
    from pydicom.dataset import Dataset

    code = Dataset()
    code.CodeValue = "113100"
    code.CodingSchemeDesignator = "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    return code
