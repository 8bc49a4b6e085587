// A `str` read where it lies, in whichever of its three widths it has: nothing is copied.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>

namespace nb = nanobind;

using Place = Py_ssize_t;  // of a character in a text, or how many there are

// Calls `work(characters, length)` with the text in its own width.
template <class Work>
auto with_characters(nb::handle text, Work work) {
  PyObject* object = text.ptr();
  const Place length = PyUnicode_GET_LENGTH(object);
  switch (PyUnicode_KIND(object)) {
    case PyUnicode_1BYTE_KIND:
      return work(static_cast<const uint8_t*>(PyUnicode_1BYTE_DATA(object)), length);
    case PyUnicode_2BYTE_KIND:
      return work(static_cast<const Py_UCS2*>(PyUnicode_2BYTE_DATA(object)), length);
    default:
      return work(static_cast<const Py_UCS4*>(PyUnicode_4BYTE_DATA(object)), length);
  }
}
