# Written before any encoder was trained, and not changed since.
CHALK_DESCRIPTIONS = (
    "a chalk drawing of a <CLASS>.",
    "a <CLASS> drawn with white chalk on a blackboard.",
    "white chalk lines on a dark board showing a <CLASS>.",
    "<CLASS>, sketched in chalk on a school chalkboard.",
    "a dusty chalkboard with a rough drawing of a <CLASS>.",
    "an image of a <CLASS> outlined in chalk on black slate.",
    "a teacher's hand-drawn chalk sketch of a <CLASS> on the classroom board.",
    "the <CLASS> appears as pale smudged chalk strokes against a dark background.",
    "rough white outlines of a <CLASS> on a dark blackboard surface.",
    "a simple chalk art picture of one <CLASS> on a black wall.",
)
