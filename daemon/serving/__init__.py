"""HTTP that axrad answers: connections with limits and deadlines, in front of Starlette applications run by uvicorn."""
