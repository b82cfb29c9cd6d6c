#include "hub/memory.hpp"

#include "hub/judge.hpp"

#include <algorithm>

namespace gw::hub {
namespace {

constexpr std::chrono::milliseconds first_back_off{1'000}; // of a Hub that does not answer; doubles
constexpr std::chrono::milliseconds longest_back_off{60'000};

bool is_no(const hub_answer& is)
{
    return is.what != hub_says::found;
}

} // namespace

std::chrono::milliseconds memory::good_for(const hub_answer& is) const
{
    return is_no(is) ? std::min(limits_.no, limits_.fresh) : limits_.fresh;
}

memory::found memory::look(std::string_view model, time_point now)
{
    const std::string name(model);
    std::shared_ptr<const hub_answer> held;
    if (const auto at = known_.find(name); at != known_.end()) {
        uses_.splice(uses_.begin(), uses_, at->second.use);
        const auto age = now - at->second.at;
        if (age < good_for(*at->second.is)) {
            return {.what = advice::serve, .is = at->second.is};
        }
        // An old no is asked for again before it is believed: the model may be there by now.
        if (!is_no(*at->second.is) && age < limits_.stale) {
            held = at->second.is;
        }
    }
    if (asking_.contains(name)) {
        return {.what = held ? advice::serve : advice::wait, .is = held};
    }
    const bool room = asking_.size() < limits_.asking;
    if (!room || !may_ask(now)) {
        if (held) {
            return {.what = advice::serve, .is = held};
        }
        return {
            .what = advice::away,
            .is =
                !room ? std::make_shared<const hub_answer>(away("too many look-ups wait already")) : why_away_
        };
    }
    asking_.insert(name);
    return {.what = held ? advice::refresh : advice::ask, .is = held};
}

std::shared_ptr<const hub_answer> memory::put(
    const std::string& model,
    hub_answer told,
    std::optional<std::chrono::milliseconds> rest,
    time_point now,
    bool only_this
)
{
    const auto is = std::make_shared<const hub_answer>(std::move(told));
    asking_.erase(model);
    if (outdated_.erase(model) != 0) {
        return is;
    }

    if (rest) {
        rests_until_ = std::max(rests_until_, now + *rest);
        why_away_ = std::make_shared<const hub_answer>(away("its limit of requests is reached"));
    }
    if (is->what == hub_says::away && !only_this) {
        back_off_ = std::clamp(2 * back_off_, first_back_off, longest_back_off);
        if (!rest && now + back_off_ > rests_until_) {
            rests_until_ = now + back_off_;
            why_away_ = is;
        }
        const auto at = known_.find(model);
        const bool usable =
            at != known_.end() && !is_no(*at->second.is) && now - at->second.at < limits_.stale;
        return usable ? at->second.is : is;
    }
    back_off_ = {};

    if (const auto at = known_.find(model); at != known_.end()) {
        at->second.is = is;
        at->second.at = now;
        uses_.splice(uses_.begin(), uses_, at->second.use);
        return is;
    }
    if (known_.size() >= limits_.entries && !uses_.empty()) {
        known_.erase(uses_.back());
        uses_.pop_back();
    }
    uses_.push_front(model);
    known_.emplace(model, entry{.is = is, .at = now, .use = uses_.begin()});
    return is;
}

void memory::forget()
{
    known_.clear();
    uses_.clear();
    outdated_ = asking_;
    rests_until_ = {};
    back_off_ = {};
}

} // namespace gw::hub
