"""Feature tables of many exams, read and checked, and the matrix that a recipe works on."""
