#include "runtime/cores.hpp"

#include "message/quiet_thread.hpp"

#include <condition_variable>
#include <mutex>
#include <utility>

namespace gw::runtime {

std::string url_of(std::string_view scheme, const std::string& host, std::uint16_t port)
{
    const bool literal_v6 = host.find(':') != std::string::npos;
    std::string made(scheme);
    made += literal_v6 ? "://[" : "://";
    made += host;
    made += literal_v6 ? "]:" : ":";
    return made + std::to_string(port);
}

void cores::make(
    unsigned count, dispatch::process& shared, const std::shared_ptr<const dispatch::snapshot>& first
)
{
    for (unsigned i = 0; i < count; ++i) {
        units_.push_back(std::make_unique<unit>(shared));
        units_.back()->core.now = first;
    }
}

result<std::string> cores::bind(const config::settings& by)
{
    std::string listening;
    for (std::size_t i = 0; i < by.listen.size(); ++i) {
        const auto& where = by.listen[i];
        net::tcp::endpoint at;
        for (std::size_t k = 0; k < units_.size(); ++k) {
            auto& core = units_[k]->core;
            auto made = k == 0 ? bind_first(where.at) : bind_next(at);
            if (!made) {
                return fail(made);
            }
            at = made->at;
            units_[k]->listeners.push_back(std::make_unique<listener>(core, std::move(made->socket), i));
        }
        listening += listening.empty() ? "" : ", ";
        listening += url_of(where.certificate.empty() ? "http" : "https", where.at.host, at.port());
    }
    return listening;
}

void cores::start()
{
    for (auto& each : units_) {
        unit& mine = *each;
        mine.core.loop.each_tick([&mine, n = 0](net::time_point now) mutable {
            mine.core.pool.tick(now);
            if (++n % 2 == 0) {
                mine.core.log.flush();
            }
        });
        for (auto& one : mine.listeners) {
            one->start();
        }
        mine.thread = quiet_thread([&mine] {
            mine.core.loop.run();
            mine.core.log.flush();
        });
    }
}

void cores::post_each(const std::function<void(unit&)>& call)
{
    for (auto& each : units_) {
        each->core.loop.post([&mine = *each, call] { call(mine); });
    }
}

void cores::publish(const std::shared_ptr<const dispatch::snapshot>& next)
{
    post_each([next](unit& mine) {
        mine.core.now = next;
        mine.core.pool.keep_only(next->bases);
    });
}

telemetry::core_metrics cores::metrics()
{
    struct meeting
    {
        std::mutex guard;
        std::condition_variable done;
        telemetry::core_metrics sum;
        std::size_t left = 0;
        bool over = false; // a core that comes later tells nothing: its caller is gone
    };
    const auto here = std::make_shared<meeting>();
    here->left = units_.size();
    post_each([here](unit& mine) {
        const std::lock_guard lock(here->guard);
        if (here->over) {
            return;
        }
        mine.core.metrics.idle_upstream = mine.core.pool.idle_count();
        mine.core.metrics.busy_upstream = mine.core.pool.busy_count();
        here->sum.add(mine.core.metrics);
        if (--here->left == 0) {
            here->done.notify_all();
        }
    });
    std::unique_lock lock(here->guard);
    here->done.wait_for(lock, std::chrono::seconds(5), [&] { return here->left == 0; });
    here->over = true;
    return std::move(here->sum);
}

void cores::stop()
{
    post_each([](unit& mine) {
        mine.core.pool.clear();
        mine.core.loop.finish();
    });
    for (auto& each : units_) {
        if (each->thread.joinable()) {
            each->thread.join();
        }
    }
}

} // namespace gw::runtime
