#include "runtime/drain.hpp"

#include "telemetry/log.hpp"

#include <boost/asio/post.hpp>

#include <utility>

namespace gw::runtime {

using telemetry::level;
using telemetry::log;

drain::drain(
    net::asio::io_context& control,
    cores& all,
    dispatch::process& shared,
    const std::shared_ptr<const config::settings>& settings,
    std::function<void()> over
)
    : control_(control), all_(all), shared_(shared), settings_(settings), over_(std::move(over)),
      limit_(control)
{
}

void drain::begin()
{
    begun_ = true;
    const auto& limits = settings_->limits;
    log(level::info,
        "draining",
        {{"pre_stop_ms", std::to_string(limits.pre_stop.count())},
         {"limit_ms", std::to_string(limits.drain.count())}});
    all_.post_each([](cores::unit& mine) { mine.core.draining = true; });
    if (limits.pre_stop.count() == 0) {
        close_listeners();
        return;
    }
    after(limits.pre_stop, [this] { close_listeners(); });
}

void drain::close_listeners()
{
    closing_ = true;
    cores_draining_ = all_.count();
    all_.post_each([this](cores::unit& mine) {
        mine.draining = mine.listeners.size();
        for (auto& one : mine.listeners) {
            one->drain([this, &mine] {
                if (--mine.draining == 0) {
                    net::asio::post(control_, [this] {
                        if (--cores_draining_ == 0) {
                            over_();
                        }
                    });
                }
            });
        }
    });
    after(settings_->limits.drain, [this] { cut("the drain limit is over; what is left is cut"); });
}

void drain::cut(std::string_view why)
{
    log(level::warning, why);
    if (!closing_) {
        close_listeners();
    }
    shared_.cut = true;
    all_.post_each([](cores::unit& mine) {
        for (auto& one : mine.listeners) {
            one->abort();
        }
    });
    after(std::chrono::seconds(2), over_);
}

void drain::forget()
{
    limit_.cancel();
}

void drain::after(std::chrono::milliseconds time, std::function<void()> call)
{
    limit_.expires_after(time);
    limit_.async_wait([call = std::move(call)](net::error_code ec) {
        if (!ec) {
            call();
        }
    });
}

} // namespace gw::runtime
