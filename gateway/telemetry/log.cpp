#include "telemetry/log.hpp"

#include "wire/json_text.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>

namespace gw::telemetry {
namespace {

spdlog::logger& logger()
{
    static const auto made = [] {
        auto it =
            std::make_shared<spdlog::logger>("fourways", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        it->set_formatter(std::make_unique<spdlog::pattern_formatter>(
            R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})", spdlog::pattern_time_type::utc
        ));
        it->flush_on(spdlog::level::trace);
        return it;
    }();
    return *made;
}

spdlog::level::level_enum to_spdlog(level how)
{
    switch (how) {
    case level::debug:
        return spdlog::level::debug;
    case level::info:
        return spdlog::level::info;
    case level::warning:
        return spdlog::level::warn;
    case level::error:
        return spdlog::level::err;
    }
    return spdlog::level::info;
}

} // namespace

void log(level how, std::string_view text, const std::vector<log_field>& fields)
{
    if (!logger().should_log(to_spdlog(how))) {
        return;
    }
    std::string line = R"("text":)";
    wire::append_json_string(line, text);
    for (const auto& [name, value] : fields) {
        line += ',';
        wire::append_json_string(line, name);
        line += ':';
        wire::append_json_string(line, value);
    }
    logger().log(to_spdlog(how), spdlog::string_view_t(line.data(), line.size()));
}

void set_log_level(level least)
{
    logger().set_level(to_spdlog(least));
}

} // namespace gw::telemetry
