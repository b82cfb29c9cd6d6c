// `fourways ways`: which ways a model has, as a table with reasons, and a policy to paste. Pure but for the
// text it makes.
#pragma once

#include "config/settings.hpp"
#include "message/ways.hpp"

#include <string>
#include <utility>
#include <vector>

namespace gw {

// A Space and its stage (`RUNNING`, `SLEEPING`); the stage is empty when it is not known.
using space_stage = std::pair<std::string, std::string>;

//   of       what the Hub says
//   spaces   stages of the first of `of.spaces`
//   now      a policy that may have upstreams for the model; null: none was given
//   asked    the name asked for: the Hub may have a newer one
[[nodiscard]] std::string ways_table(
    const ways& of,
    const std::vector<space_stage>& spaces,
    const config::settings* now,
    const std::string& asked
);

// A whole policy for the ways that the model has: what needs a place or a program of the operator's own is
// commented out, unless nothing else is left.
[[nodiscard]] std::string ways_policy(const ways& of);

} // namespace gw
