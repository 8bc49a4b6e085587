"""Operations with one readable reference each, and the fast versions that must equal it."""
