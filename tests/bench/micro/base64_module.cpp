// base64_module: our base64 and OpenSSL's for Python, so that they can be compared with pybase64 in one
// process, called alike and with results allocated alike (a new bytes object for each call).
#include "payload/base64.hpp"
#include "payload/base64_kernel.hpp"

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <openssl/evp.h>

#include <string_view>

namespace {

using namespace gw::payloads;

// Views the argument, makes the result, lets `work(text, to)` fill it and tell its size; negative: not valid.
template <class Work>
PyObject* with_result(PyObject* given, std::size_t room, Work work)
{
    char* text = nullptr;
    Py_ssize_t size = 0;
    if (PyBytes_AsStringAndSize(given, &text, &size) < 0) {
        return nullptr;
    }
    PyObject* made = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(room));
    if (made == nullptr) {
        return nullptr;
    }
    const Py_ssize_t got =
        work(std::string_view(text, static_cast<std::size_t>(size)), PyBytes_AS_STRING(made));
    if (got < 0) {
        Py_DECREF(made);
        PyErr_SetString(PyExc_ValueError, "no base64");
        return nullptr;
    }
    if (got != static_cast<Py_ssize_t>(room) && _PyBytes_Resize(&made, got) < 0) {
        return nullptr;
    }
    return made;
}

std::size_t size_of(PyObject* given)
{
    return PyBytes_Check(given) ? static_cast<std::size_t>(PyBytes_GET_SIZE(given)) : 0;
}

// As the gateway does it: strict, with the checks of padding and unused bits.
PyObject* encode(PyObject*, PyObject* given)
{
    return with_result(given, encoded_size(size_of(given)), [](std::string_view bytes, char* to) {
        base64_encoder coder;
        const std::size_t got = coder.feed(bytes, to);
        return static_cast<Py_ssize_t>(got + coder.finish(to + got));
    });
}

PyObject* decode(PyObject*, PyObject* given)
{
    return with_result(
        given,
        base64_decoder::max_output(size_of(given)),
        [](std::string_view text, char* to) -> Py_ssize_t {
            base64_decoder coder;
            const auto got = coder.feed(text, to);
            return got && coder.finish() ? static_cast<Py_ssize_t>(*got) : -1;
        }
    );
}

PyObject* evp_encode(PyObject*, PyObject* given)
{
    return with_result(
        given,
        encoded_size(size_of(given)) + 1,
        [](std::string_view bytes, char* to) -> Py_ssize_t {
            return EVP_EncodeBlock(
                reinterpret_cast<unsigned char*>(to),
                reinterpret_cast<const unsigned char*>(bytes.data()),
                static_cast<int>(bytes.size())
            );
        }
    );
}

PyObject* evp_decode(PyObject*, PyObject* given)
{
    return with_result(
        given,
        base64_decoder::max_output(size_of(given)),
        [](std::string_view text, char* to) -> Py_ssize_t {
            const int got = EVP_DecodeBlock(
                reinterpret_cast<unsigned char*>(to),
                reinterpret_cast<const unsigned char*>(text.data()),
                static_cast<int>(text.size())
            );
            const int padding = text.ends_with("==")  ? 2
                                : text.ends_with('=') ? 1
                                                      : 0; // which it counts as zeros
            return got - padding;
        }
    );
}

PyObject* kernel(PyObject*, PyObject*)
{
    return PyUnicode_FromString(best_kernel().name);
}

PyMethodDef functions[] = {
    {"encode", encode, METH_O, nullptr},
    {"decode", decode, METH_O, nullptr},
    {"evp_encode", evp_encode, METH_O, nullptr},
    {"evp_decode", evp_decode, METH_O, nullptr},
    {"kernel", kernel, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "base64_module", nullptr, -1, functions, nullptr, nullptr, nullptr, nullptr
};

} // namespace

PyMODINIT_FUNC PyInit_base64_module()
{
    return PyModule_Create(&module);
}
