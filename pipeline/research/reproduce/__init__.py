"""The paper's released tables, its figures drawn from them again, and what is wrong with them."""
