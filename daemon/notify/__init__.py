"""People are told of trouble: by webhook and e-mail, not too often, never with anything that names a patient."""
