#include "telemetry/log.hpp"

#include "wire/json_text.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>

namespace gw::telemetry {
namespace {

// Lines go to the writer thread while there is one.
class stderr_sink final : public spdlog::sinks::base_sink<std::mutex>
{
public:
    std::atomic<line_writer*> to{nullptr};

private:
    void sink_it_(const spdlog::details::log_msg& what) override
    {
        spdlog::memory_buf_t text;
        formatter_->format(what, text);
        if (line_writer* const writer = to.load(std::memory_order_relaxed)) {
            writer->put(std::string(text.data(), text.size()), 1);
        } else {
            std::fwrite(text.data(), 1, text.size(), stderr);
        }
    }
    void flush_() override {}
};

const std::shared_ptr<stderr_sink>& sink()
{
    static const auto made = std::make_shared<stderr_sink>();
    return made;
}

spdlog::logger& logger()
{
    static const auto made = [] {
        auto it = std::make_shared<spdlog::logger>("fourways", sink());
        it->set_formatter(std::make_unique<spdlog::pattern_formatter>(
            R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})", spdlog::pattern_time_type::utc
        ));
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

void log_through(line_writer* to)
{
    sink()->to.store(to, std::memory_order_relaxed);
}

void set_log_level(level least)
{
    logger().set_level(to_spdlog(least));
}

} // namespace gw::telemetry
