// The dialects there are, each a stateless singleton. A new one is a file with its class, a line here, and
// its paths in registry.cpp.
#pragma once

#include "dialects/dialect.hpp"

namespace gw::dialects {

[[nodiscard]] const dialect& native();
[[nodiscard]] const dialect& huggingface();
[[nodiscard]] const dialect& openai();

} // namespace gw::dialects
