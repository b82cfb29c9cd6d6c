// `fourways explain`: what would happen to a request for a model, said beforehand. Pure but for the text it
// makes.
#pragma once

#include "config/settings.hpp"
#include "message/failure.hpp"
#include "message/ways.hpp"

#include <functional>
#include <string>

namespace gw {

//   model, task   as a client would name them; task may be empty
//   returns       lines for a person: which candidates in which order, which encoding each would get, which
//   token by name,
//                 what is off and why
//   errors        those of policy::decide
//   ask           looks a model up at the Hub; called only where a request would do so
[[nodiscard]] result<std::string> explain(
    const config::settings& now,
    const std::string& model,
    const std::string& task,
    const std::function<hub_answer(const std::string& model)>& ask
);

} // namespace gw
