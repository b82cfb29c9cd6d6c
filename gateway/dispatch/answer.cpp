// What an upstream answers: read as the conversation asks, searched for our tokens, up to the first content
// in begin() and behind it in next().
#include "dispatch/dispatch.hpp"

#include "wire/json_scan.hpp"

#include <utility>

namespace gw::dispatch {
namespace {

constexpr std::size_t longest_error = 64 * 1024;
constexpr std::size_t longest_held = 64 * 1024;   // events without content; more of them is content
constexpr std::size_t longest_text = 1024 * 1024; // a longer document goes into a log, if it may

wire::json_limits json_bounds(const config::limits& of)
{
    wire::json_limits bounds;
    bounds.plain_bytes = of.json_bytes;
    bounds.long_bytes = of.payload_bytes / 3 * 4 + 4;
    return bounds;
}

// Where neither a length nor chunks tell the end, a cut looks like one.
failure cut_off()
{
    return {
        .what = code::unavailable,
        .from = origin::upstream,
        .text = "the upstream closed the connection within its answer"
    };
}

// The beginning of a JSON object, and no more.
bool cut_in_json(std::string_view data)
{
    wire::json_scanner scanner;
    return data.starts_with('{') && scanner.feed(data) && !scanner.finish();
}

} // namespace

net::task<std::optional<verdict>> dispatched::read_text()
{
    text_.clear();
    while (text_.size() < longest_error) {
        auto bytes = co_await exchange_->next();
        if (!bytes) {
            break; // what was said so far is worth more than how it ended
        }
        if (bytes->empty()) {
            break;
        }
        text_.append(bytes->substr(0, longest_error - text_.size()));
    }
    if (stop_.fired()) {
        co_return misuse("stopped");
    }
    if (leaks(text_)) {
        co_return leaked();
    }
    action_ = step(adapters::event::text{text_});
    co_return std::nullopt;
}

net::task<std::optional<verdict>> dispatched::read_whole(bool held)
{
    const std::size_t longest = held ? now_->policy->limits.json_bytes : longest_text;
    wire::json_scanner scanner(json_bounds(now_->policy->limits));
    const auto not_json = [this](const failure& why) {
        return verdict{
            .what = outcome::unavailable,
            .where = scope::model_task,
            .status = status_,
            .text = "the upstream's answer is not the JSON it says it is",
            .detail = why.text
        };
    };
    const auto no_room = [this] {
        return verdict{
            .what = outcome::unavailable,
            .status = status_,
            .text = "there is no room for the upstream's answer"
        };
    };

    text_.clear();
    document_.reset();
    while (true) {
        auto bytes = co_await exchange_->next();
        if (!bytes) {
            co_return lost(*bytes.error());
        }
        if (bytes->empty()) {
            break;
        }
        if (search_->feed(*bytes).leaked) { // the end is held back anyway: it is read whole
            co_return leaked();
        }
        auto fed = scanner.feed(*bytes);
        if (!fed) {
            if (worker_ && fed.error().what == code::body_too_large) {
                replace_worker("answers without end");
            }
            co_return not_json(fed.error());
        }
        if (!document_ && text_.size() + bytes->size() > longest) {
            auto space = here_.all.store.admit(std::nullopt, payloads::copies::required);
            if (!space) {
                co_return no_room();
            }
            document_ = std::make_unique<payloads::replay>(
                here_.all.store,
                [&loop = here_.loop](auto work) { loop.post(std::move(work)); },
                std::move(*space)
            );
            document_->append(std::exchange(text_, {}));
        }
        if (document_) {
            document_->append(*bytes);
            co_await room_in(*document_); // the upstream waits for our disk, not our memory for both
            if (stop_.fired()) {
                co_return misuse("stopped");
            }
            if (document_->failed() != nullptr) {
                co_return no_room();
            }
        } else {
            text_.append(*bytes);
        }
    }
    auto index = scanner.finish();
    if (!index) {
        co_return not_json(index.error());
    }
    if (document_) {
        document_->finish();
    }
    action_ = step(adapters::event::whole{*index, text_});
    co_return std::nullopt;
}

net::task<std::optional<verdict>> dispatched::first_raw()
{
    const bool json = answer_.kind == adapters::answer_kind::json;
    if (json && (asked_.stream || !exchange_->delimited())) {
        unended_.emplace(json_bounds(now_->policy->limits));
    }
    if (asked_.stream && json) {
        // It will be rendered as events, so all of it is needed before the first content can go out.
        text_.clear();
        while (true) {
            auto bytes = co_await exchange_->next();
            if (!bytes) {
                co_return lost(*bytes.error());
            }
            if (bytes->empty()) {
                break;
            }
            text_.append(*bytes);
            if (text_.size() > now_->policy->limits.json_bytes) {
                co_return verdict{
                    .what = outcome::unavailable,
                    .status = status_,
                    .text = "the upstream's answer is longer than `limits.json_bytes`"
                };
            }
        }
        if (leaks(text_)) {
            co_return leaked();
        }
        if (cut_short(text_, true)) {
            co_return verdict{
                .what = outcome::unavailable,
                .where = scope::model_task,
                .status = status_,
                .text = "the upstream's answer is JSON that is not whole"
            };
        }
        talk_->look(text_);
        answer_.length = text_.size();
        first_ = {.first = {}, .second = text_};
        first_given_ = false;
        mode_ = mode::raw; // complete: next() finds the end
        co_return std::nullopt;
    }

    bool at_once = true; // the whole answer came with one read
    leak_search::passed passed;
    while (true) {
        auto bytes = co_await exchange_->next();
        if (!bytes) {
            co_return lost(*bytes.error());
        }
        const bool last = bytes->empty() || exchange_->complete();
        passed = search_->feed(*bytes, last);
        if (passed.leaked) {
            co_return leaked();
        }
        if (cut_short(*bytes, last)) {
            co_return lost(cut_off());
        }
        if (last || passed.size() != 0) {
            at_once = at_once && last;
            break;
        }
        at_once = false;
    }
    if (at_once) {
        talk_->look(passed.second);
        answer_.length = passed.second.size();
    }
    first_ = {.first = passed.first, .second = passed.second};
    first_given_ = false;
    mode_ = mode::raw;
    co_return std::nullopt;
}

// Whether JSON whose end nothing tells stopped within. What is no JSON at all is none of our business.
bool dispatched::cut_short(std::string_view bytes, bool last)
{
    if (unended_ && !bytes.empty() && !unended_->feed(bytes)) {
        unended_.reset();
    }
    return unended_ && last && !unended_->finish();
}

net::task<std::optional<verdict>> dispatched::first_event()
{
    events_.emplace();
    held_.clear();
    read_ = {};
    read_all_ = ended_ = false;
    mode_ = mode::events;
    while (true) {
        if (auto some = cut_events(true)) {
            if (!*some) {
                mode_ = mode::none;
                co_return std::move(*some).error();
            }
            first_ = **some;
            first_given_ = false;
            co_return std::nullopt;
        }
        auto bytes = co_await exchange_->next();
        if (!bytes) {
            mode_ = mode::none;
            co_return lost(*bytes.error());
        }
        add_events(*bytes);
    }
}

void dispatched::add_events(std::string_view bytes)
{
    read_ = bytes;
    if (bytes.empty()) {
        read_all_ = true;
    } else {
        events_->push(bytes);
    }
}

std::optional<std::expected<dispatched::block, verdict>> dispatched::cut_events(bool until_content)
{
    if (failed_event_) {
        return std::unexpected(std::move(*failed_event_));
    }
    // Events that stand side by side in what was read go on from there; what stands elsewhere is copied
    // before it.
    ready_.clear();
    std::string_view run;
    const auto pass = [&](std::string_view raw) {
        if (raw.empty()) {
            return;
        }
        const bool here = std::less_equal<>()(read_.data(), raw.data()) &&
                          std::less_equal<>()(raw.data() + raw.size(), read_.data() + read_.size());
        if (here && !run.empty() && run.data() + run.size() == raw.data()) {
            run = {run.data(), run.size() + raw.size()};
            return;
        }
        ready_.append(std::exchange(run, here ? raw : std::string_view{}));
        if (!here) {
            ready_.append(raw);
        }
    };
    const auto pass_held = [&] { pass(std::exchange(held_, {})); };
    const auto passed = [&] { return block{.first = ready_, .second = run}; };

    bool content = !until_content;
    while (!ended_) {
        const auto each = events_->next();
        if (!each) {
            break;
        }
        if (each->oversize) { // too long to be looked at: it is content
            const auto searched = search_->feed(each->raw, each->complete);
            if (searched.leaked) {
                return std::unexpected(leaked());
            }
            pass_held();
            pass(searched.first);
            pass(searched.second);
            content = true;
            continue;
        }
        if (each->is_comment || (!each->has_data && each->name.empty())) {
            continue;
        }
        if (leaks(each->raw)) {
            return std::unexpected(leaked());
        }
        auto act = step(adapters::event::sse{each->name, each->data});
        if (const auto* forward = std::get_if<adapters::action::forward>(&act)) {
            if (!content && !forward->content && held_.size() < longest_held) {
                held_.append(each->raw);
                continue;
            }
            pass_held();
            pass(each->raw);
            content = true;
        } else if (const auto* retell = std::get_if<adapters::action::retell>(&act)) {
            pass_held();
            pass(retell->event);
            content = true;
        } else if (auto* failed = std::get_if<adapters::action::fail>(&act)) {
            if (!until_content && passed().size() != 0) { // what came before it goes out first
                failed_event_ = std::move(failed->why);
                return passed();
            }
            return std::unexpected(std::move(failed->why));
        } else if (std::holds_alternative<adapters::action::done>(act)) {
            ended_ = true;
        }
    }
    if (content && passed().size() != 0) {
        return passed();
    }
    if (ended_) {
        pass_held();
        return passed();
    }
    return read_all_ ? std::optional(last_event()) : std::nullopt;
}

// The end. A last event without its blank line counts: clients drop it, so it is completed.
std::expected<dispatched::block, verdict> dispatched::last_event()
{
    ended_ = true;
    const auto last = events_->finish();
    if (const auto passed = search_->feed(last && last->oversize ? last->raw : "", true); passed.leaked) {
        return std::unexpected(leaked());
    } else if (passed.size() != 0) {
        ready_.append(std::exchange(held_, {})).append(passed.first).append(passed.second).append("\n\n");
    }
    if (last && last->has_data && cut_in_json(last->data)) { // a good end of chunks may hide it
        return std::unexpected(lost(cut_off()));
    }
    if (last && last->has_data && !last->oversize) {
        if (leaks(last->raw)) {
            return std::unexpected(leaked());
        }
        auto act = step(adapters::event::sse{last->name, last->data});
        if (std::holds_alternative<adapters::action::forward>(act)) {
            ready_.append(std::exchange(held_, {})).append(last->raw).append("\n\n");
        } else if (const auto* retell = std::get_if<adapters::action::retell>(&act)) {
            ready_.append(std::exchange(held_, {})).append(retell->event);
        } else if (auto* failed = std::get_if<adapters::action::fail>(&act)) {
            return std::unexpected(std::move(failed->why));
        }
    }
    auto act = step(adapters::event::end{});
    if (auto* failed = std::get_if<adapters::action::fail>(&act)) {
        return std::unexpected(std::move(failed->why));
    }
    ready_.append(std::exchange(held_, {}));
    return block{.first = ready_, .second = {}};
}

std::unexpected<failure> dispatched::broke(verdict why)
{
    const auto now = net::clock::now();
    count_bytes();
    told_ = true;
    if (abandoned()) {
        return abandon(now);
    }
    if (stop_.fired()) {
        machine_.out_of_time(now);
        return std::unexpected(
            failure{.what = stop_.why(), .text = "the answer took longer than the upstream's `timeout.total`"}
        );
    }
    if (client_fault_) { // it had not sent all of its request yet
        machine_.left(now);
        return std::unexpected(*client_fault_);
    }
    if (leaks(why)) {
        why = leaked();
    }
    machine_.told(why, now, wall());
    const code what = why.as_code == code::upstream_leak ? code::upstream_leak : code::broken_stream;
    return std::unexpected(
        failure{.what = what, .from = origin::upstream, .text = why.text, .detail = why.detail}
    );
}

net::task<lean<dispatched::block>> dispatched::next()
{
    return mode_ == mode::events ? next_events() : mode_ == mode::plan ? next_planned() : next_raw();
}

std::optional<dispatched::block> dispatched::at_hand()
{
    return mode_ == mode::events ? std::nullopt : first_once();
}

std::optional<dispatched::block> dispatched::first_once()
{
    if (std::exchange(first_given_, true)) {
        return std::nullopt;
    }
    if (first_.size() == 0) {
        ended_ = true;
    }
    return first_;
}

net::task<lean<dispatched::block>> dispatched::next_events()
{
    if (const auto first = first_once(); first && first->size() != 0) {
        co_return *first;
    }
    while (true) {
        if (auto some = cut_events(false)) {
            if (!*some) {
                co_return broke(std::move(*some).error());
            }
            co_return **some;
        }
        auto bytes = co_await exchange_->next();
        if (!bytes) {
            co_return broke(lost(*bytes.error()));
        }
        add_events(*bytes);
    }
}

net::task<lean<dispatched::block>> dispatched::next_raw()
{
    if (const auto first = first_once()) {
        co_return *first;
    }
    while (!ended_) {
        lean<std::string_view> bytes;
        if (!exchange_->complete()) {
            bytes = co_await exchange_->next();
        }
        if (!bytes) {
            co_return broke(lost(*bytes.error()));
        }
        const auto passed = search_->feed(*bytes, bytes->empty() || exchange_->complete());
        if (passed.leaked) {
            co_return broke(leaked());
        }
        const auto& limits = now_->policy->limits;
        if (worker_ && exchange_->bytes_received() > limits.payload_bytes / 3 * 4 + limits.json_bytes) {
            replace_worker("answers without end");
            co_return broke({
                .what = outcome::unavailable,
                .where = scope::model_task,
                .status = status_,
                .text = "the worker's answer is longer than `limits.payload_bytes`",
            });
        }
        if (cut_short(*bytes, bytes->empty())) {
            co_return broke(lost(cut_off()));
        }
        if (bytes->empty()) {
            ended_ = true;
            auto act = step(adapters::event::end{});
            if (auto* failed = std::get_if<adapters::action::fail>(&act)) {
                co_return broke(std::move(failed->why));
            }
        }
        if (passed.size() != 0) {
            co_return block{.first = passed.first, .second = passed.second};
        }
    }
    co_return block{};
}

net::task<lean<dispatched::block>> dispatched::next_planned()
{
    if (const auto first = first_once()) {
        co_return *first;
    }
    auto more = co_await out_->next();
    if (!more) {
        co_return broke({.what = outcome::unavailable, .status = status_, .text = more.error().text});
    }
    co_return *more;
}

bool dispatched::all_buffered() const
{
    return mode_ == mode::raw && exchange_ && exchange_->complete();
}

// Waits while the log's memory is full.
net::task<void> dispatched::room_in(payloads::replay& log)
{
    while (!log.wants_more() && log.failed() == nullptr && !stop_.fired()) {
        net::event room(here_.loop);
        const net::interrupt::scope ends(stop_, [&room] { room.set(); });
        log.when_wants_more([&room] { room.set(); });
        co_await room.wait();
        log.when_wants_more(nullptr);
    }
}

bool dispatched::leaks(std::string_view bytes) const
{
    return secrets_->in(bytes);
}

// Its words were unescaped meanwhile.
bool dispatched::leaks(const verdict& why) const
{
    return leaks(why.text) || leaks(why.detail) || leaks(why.error_type);
}

verdict dispatched::leaked()
{
    ++here_.metrics.leaks_stopped;
    return {
        .what = outcome::unavailable,
        .where = scope::none,
        .status = status_,
        .text = "the upstream `" + target_.to->name + "` sent our own token back; its answer was withheld",
        .as_code = code::upstream_leak
    };
}

} // namespace gw::dispatch
