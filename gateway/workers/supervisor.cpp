#include "workers/supervisor.hpp"

#include "workers/core.hpp"

#include <algorithm>
#include <tuple>

namespace gw::workers {

supervisor::supervisor(log_fn log, std::string executable, const rhythm& times)
    : core_(std::make_shared<core>(std::move(log), std::move(executable), times))
{
    core_->start();
}

supervisor::~supervisor()
{
    stop();
}

void supervisor::ensure(const config::upstream& to, std::string_view model, answer_fn then)
{
    core_->ensure(recipe_of(to, model), std::move(then));
}

std::optional<ready_worker> supervisor::ready(const config::upstream& to, std::string_view model) const
{
    const cell_ptr found = core_->cells().find(to, model);
    if (!found) {
        return std::nullopt;
    }
    const std::scoped_lock guard(found->lock);
    return found->now.where();
}

lease supervisor::use(const config::upstream& to, std::string_view model)
{
    cell_ptr found = core_->cells().find(to, model);
    if (!found) {
        return {};
    }
    std::optional<ready_worker> where;
    {
        const std::scoped_lock guard(found->lock);
        where = found->now.borrow();
    }
    return where ? lease(std::move(found), *where) : lease();
}

void supervisor::lost(const config::upstream& to, std::string_view model, std::uint64_t generation)
{
    if (const cell_ptr found = core_->cells().find(to, model)) {
        core_->lost(found, generation);
    }
}

void supervisor::replace(
    const config::upstream& to, std::string_view model, std::uint64_t generation, std::string why
)
{
    if (const cell_ptr found = core_->cells().find(to, model)) {
        core_->replace(found, generation, std::move(why));
    }
}

void supervisor::keep(const config::settings& now)
{
    std::vector<recipe> named;
    for (const named_worker& each : workers_of(now)) {
        named.push_back(recipe_of(*each.to, each.model));
    }
    core_->keep(std::move(named));
}

void supervisor::kill()
{
    core_->kill();
}

void supervisor::stop()
{
    core_->stop();
}

std::vector<worker_status> supervisor::snapshot() const
{
    std::vector<worker_status> all;
    for (const cell_ptr& each : core_->cells().all()) {
        all.push_back(status_of(*each));
    }
    std::ranges::sort(all, {}, [](const worker_status& each) { return std::tie(each.upstream, each.model); });
    return all;
}

} // namespace gw::workers
