"""What an evaluation answers of the field's checklists, its model card and its methods section, as files."""
