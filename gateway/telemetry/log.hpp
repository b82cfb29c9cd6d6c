// Everything that is not an access record goes to stderr as JSON lines: {"time","level","text",...}.
// Thread-safe; never on the path of a healthy request. Secrets have no way in: fields are strings that
// callers made.
#pragma once

#include "telemetry/access_record.hpp"

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gw::telemetry {

enum class level { debug, info, warning, error };

using log_field = std::pair<std::string_view, std::string>;

void log(level how, std::string_view text, const std::vector<log_field>& fields = {});
// From now on lines go through `to`, which outlives that; null: straight to stderr again. So that a core
// never waits for whoever reads stderr.
void log_through(line_writer* to);
void set_log_level(level least); // default: info

} // namespace gw::telemetry
