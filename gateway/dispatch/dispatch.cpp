#include "dispatch/dispatch.hpp"

#include "dispatch/classify_transport.hpp"
#include "payload/tasks.hpp"
#include "telemetry/log.hpp"
#include "wire/field.hpp"
#include "wire/json_scan.hpp"

#include <algorithm>
#include <utility>

namespace gw::dispatch {
namespace {

constexpr std::size_t longest_error = 64 * 1024;
constexpr std::size_t longest_held = 64 * 1024;   // events without content; more of them is content
constexpr std::size_t longest_text = 1024 * 1024; // a longer document goes into a log

template <class... F>
struct overloaded : F...
{
    using F::operator()...;
};

bool is_space_host(std::string_view host)
{
    return host.ends_with(".hf.space");
}

adapters::wall_time wall()
{
    return std::chrono::system_clock::now();
}

// A worker that says so is broken, whatever it was asked.
bool is_garbage(code what)
{
    return what == code::bad_framing || what == code::bad_chunk || what == code::bad_version ||
           what == code::header_too_large;
}

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

// What an action in the wrong place means: an adapter's own fault, never the upstream's.
verdict misuse(const char* what)
{
    return {.what = outcome::unavailable, .text = "the gateway's adapter misbehaved", .detail = what};
}

} // namespace

dispatched::dispatched(
    core& here,
    std::shared_ptr<const snapshot> now,
    const request& asked,
    const policy::plan& plan,
    body_access& body,
    net::interrupt& stop,
    net::deadline& limit
)
    : here_(here), now_(std::move(now)), asked_(asked), plan_(plan), body_(body), stop_(stop), limit_(limit),
      wake_(std::make_shared<net::event>(here.loop.get_executor())),
      machine_(
          plan,
          here.all.known,
          {.body_whole = body.whole(),
           .random = here.random(),
           .wake =
               [woken = std::weak_ptr(wake_), &loop = here.loop] {
                   loop.post([woken] {
                       if (const auto mine = woken.lock()) {
                           mine->set();
                       }
                   });
               }}
      )
{
}

dispatched::~dispatched() = default;

net::task<result<adapters::answer_head>> dispatched::begin(net::time_point deadline)
{
    machine_.set_deadline(deadline);
    while (true) {
        if (stop_.fired()) {
            if (abandoned()) {
                co_return abandon(net::clock::now());
            }
            machine_.out_of_time(net::clock::now()); // also while nothing is in progress
        }
        if (!body_.replayable()) {
            machine_.body_dropped();
        }
        const attempts::next_step step = machine_.next(net::clock::now());

        if (const auto* last = std::get_if<attempts::give_up>(&step)) {
            co_return std::unexpected(last->last);
        }
        if (const auto* wait = std::get_if<attempts::wait_for>(&step)) {
            if (wait->body && !body_.whole()) {
                auto whole = co_await body_.wait_whole();
                if (!whole) {
                    leave(net::clock::now());
                    co_return fail(whole);
                }
                machine_.body_arrived();
                continue;
            }
            co_await pause(wait->until);
            continue;
        }

        const auto& chosen = std::get<attempts::try_it>(step);
        std::optional<verdict> bad = co_await attempt(chosen);
        const auto now = net::clock::now();
        if (!bad) {
            if (mode_ == mode::none) {
                continue; // the candidate was skipped
            }
            machine_.content(status_, now);
            limit_.disarm();
            if (const auto total = target_.to->timeout.total) {
                limit_.arm(began_ + *total);
            }
            begun_ = true;
            if (!machine_.another_candidate_left()) {
                body_.drop_copy();
            }
            co_return answer_;
        }
        co_await end_exchange();
        count_bytes();
        mode_ = mode::none;
        if (client_fault_) {
            leave(now);
            co_return std::unexpected(*client_fault_);
        }
        if (stop_.fired()) {
            continue;
        }
        if (leaks(*bad)) {
            bad = leaked();
        }
        telemetry::log(
            telemetry::level::debug,
            "attempt failed",
            {{"request_id", asked_.request_id},
             {"upstream", target_.to->name},
             {"outcome", std::string(to_string(bad->what))},
             {"why", bad->text},
             {"detail", bad->detail}}
        );
        machine_.told(*bad, now, wall());
    }
}

// One candidate: its adapter, its worker, its conversation up to the first content. Nothing: the answer
// begins, or (with mode none) the candidate was skipped.
net::task<std::optional<verdict>> dispatched::attempt(const attempts::try_it& what)
{
    const policy::candidate& candidate = plan_.candidates[what.candidate];
    target_ = {
        .to = candidate.to,
        .with = what.with,
        .model = candidate.model,
        .provider = plan_.provider,
        .task = plan_.task
    };
    const adapters::adapter& tongue = adapters::adapter_for(*candidate.to);
    secrets_ = now_->secrets.at(candidate.to).get();
    mode_ = mode::none;
    told_ = false;
    connected_ = false;
    status_ = 0;
    sent_ = received_ = 0;
    worker_.give_back(); // of an earlier candidate
    began_ = net::clock::now();

    // Can it be said in its way at all?
    auto encoding = tongue.plan(asked_, target_);
    if (!encoding) {
        const reason why = encoding.error().what == code::forbidden ? reason::forbidden : reason::unsupported;
        machine_.skip(what.candidate, why, std::move(encoding).error());
        co_return std::nullopt;
    }
    // Everything but sized binary is sent after it is whole and checked.
    if (!body_.whole() && !tongue.can_stream(asked_, target_)) {
        auto whole = co_await body_.wait_whole();
        if (!whole) {
            client_fault_ = std::move(whole).error();
            co_return misuse("the body is not whole");
        }
        machine_.body_arrived();
    }

    if (candidate.to->run) {
        auto bad = co_await ready_worker();
        if (bad) {
            co_return bad;
        }
    }
    if (!machine_.another_candidate_left()) {
        body_.drop_copy();
    }

    talk_ = tongue.open(asked_, target_);
    action_ = talk_->step(adapters::event::start{}, net::clock::now(), wall());
    auto done = co_await converse();
    co_return done;
}

net::task<std::optional<verdict>> dispatched::ready_worker()
{
    auto& workers = here_.all.workers;
    worker_ = workers.use(*target_.to, target_.model);
    if (!worker_) {
        // The start is shared by all who ask, and goes on when we move to the next candidate.
        const auto done = std::make_shared<net::event>(here_.loop.get_executor());
        const auto got = std::make_shared<std::optional<result<workers::ready_worker>>>();
        workers.ensure(
            *target_.to,
            target_.model,
            [done,
             got,
             &loop = here_.loop,
             &known = here_.all.known,
             keep = now_,
             to = target_.to,
             model = target_.model](result<workers::ready_worker> answer) {
                if (answer) {
                    known.warmed(*to, model);
                }
                loop.post([done, got, answer = std::move(answer), keep]() mutable {
                    *got = std::move(answer);
                    done->set();
                });
            }
        );
        if (machine_.another_candidate_left()) {
            co_return verdict{
                .what = outcome::warming,
                .where = scope::model_task,
                .connect_failed = true,
                .text = "the worker `" + target_.to->name + "` is starting"
            };
        }
        const net::interrupt::scope ends(stop_, [&done] { done->set(); });
        co_await done->wait();
        if (stop_.fired()) {
            co_return misuse("stopped");
        }
        if (!*got) {
            co_return misuse("a worker's start without an answer");
        }
        if (!**got) {
            const failure& why = (**got).error();
            verdict bad{
                .what = why.what == code::warming ? outcome::warming : outcome::unavailable,
                .where = scope::model_task
            };
            bad.connect_failed = true;
            bad.retry_after = why.retry_after;
            bad.text = why.text;
            bad.detail = why.detail;
            co_return bad;
        }
        worker_ = workers.use(*target_.to, target_.model);
        if (!worker_) {
            co_return verdict{
                .what = outcome::unavailable,
                .where = scope::model_task,
                .connect_failed = true,
                .text = "the worker `" + target_.to->name + "` ended right after it was ready"
            };
        }
    }
    worker_peer_ = now_->peers.at(target_.to);
    worker_peer_->host = "127.0.0.1";
    worker_peer_->port = worker_.where().port;
    worker_peer_->host_header = "127.0.0.1:" + std::to_string(worker_.where().port);
    worker_peer_->key +=
        ":" + std::to_string(worker_.where().port) + ":" + std::to_string(worker_.where().generation);
    co_return std::nullopt;
}

// Does what the conversation says until the first content is there, or a verdict.
net::task<std::optional<verdict>> dispatched::converse()
{
    while (true) {
        std::optional<verdict> bad;
        if (auto* send_it = std::get_if<adapters::action::send>(&action_)) {
            adapters::exchange_request what = std::move(send_it->what);
            bad = co_await send(std::move(what));
        } else if (const auto* read = std::get_if<adapters::action::read>(&action_)) {
            const auto how = read->how;
            answer_ = read->answer;
            switch (how) {
            case adapters::action::read::as::text:
                bad = co_await read_text();
                break;
            case adapters::action::read::as::whole:
                bad = co_await read_whole();
                break;
            case adapters::action::read::as::raw:
                co_return co_await first_raw();
            case adapters::action::read::as::events:
                co_return co_await first_event();
            }
        } else if (auto* emit = std::get_if<adapters::action::emit>(&action_)) {
            answer_ = std::move(emit->head);
            answer_.length = emit->body.length();
            const upstream::source from{.memory = text_, .log = document_.get()};
            out_.emplace(here_.loop, std::move(emit->body), from, stop_);
            auto block = co_await out_->next();
            if (!block) {
                co_return verdict{
                    .what = outcome::unavailable,
                    .where = scope::model_task,
                    .status = status_,
                    .text = "the upstream's answer cannot be translated: " + block.error().text
                };
            }
            first_ = *block;
            first_given_ = false;
            mode_ = mode::plan;
            co_return std::nullopt;
        } else if (const auto* wait = std::get_if<adapters::action::wait>(&action_)) {
            const auto until = wait->until;
            co_await pause(until);
            if (stop_.fired()) {
                co_return misuse("stopped");
            }
            action_ = talk_->step(adapters::event::elapsed{}, net::clock::now(), wall());
        } else if (auto* failed = std::get_if<adapters::action::fail>(&action_)) {
            co_return std::move(failed->why);
        } else {
            co_return misuse("an action that does not fit here");
        }
        if (bad) {
            co_return bad;
        }
    }
}

// nullopt when some value would end its line: the one place where every head for an upstream passes.
std::optional<std::string> dispatched::request_text(const adapters::exchange_request& what) const
{
    const upstream::peer& peer = worker_peer_ && target_.to->run ? *worker_peer_ : now_->peers.at(target_.to);
    std::string text;
    text.reserve(512);
    bool clean = std::ranges::all_of(what.path, [](char c) { return c > 0x20 && c < 0x7f; });
    const auto line = [&](std::string_view name, std::string_view value) {
        clean = clean && wire::valid_value(value);
        text += name;
        text += value;
        text += "\r\n";
    };
    text += what.method;
    text += ' ';
    text += what.path;
    line(" HTTP/1.1\r\nhost: ", peer.host_header);
    line("user-agent: fourways/", here_.all.version);
    line("accept: ", what.accept.empty() ? "*/*" : std::string_view(what.accept));
    line("accept-encoding: ", "identity");
    if (target_.with != nullptr && !target_.with->value.empty()) {
        // A Space's author reads Authorization; the platform's own header is taken off before.
        line(
            is_space_host(peer.host) ? "x-hf-authorization: Bearer " : "authorization: Bearer ",
            target_.with->value.reveal()
        );
    }
    for (const auto& [name, value] : asked_.forwarded) {
        text += name;
        line(": ", value);
    }
    line("x-request-id: ", asked_.request_id);
    text += what.fields;
    if (!what.content_type.empty()) {
        line("content-type: ", what.content_type);
    }
    if (what.method != "GET" && what.method != "HEAD") {
        line("content-length: ", std::to_string(what.body.length()));
    }
    text += "\r\n";
    return clean ? std::optional(std::move(text)) : std::nullopt;
}

net::task<std::optional<verdict>> dispatched::send(adapters::exchange_request what)
{
    co_await end_exchange();
    search_.emplace(*secrets_);
    const upstream::peer& peer = target_.to->run ? *worker_peer_ : now_->peers.at(target_.to);
    const auto& limits = target_.to->timeout;
    std::optional<std::string> head = request_text(what);
    if (!head) {
        co_return misuse("a head with a line break or another control byte in it");
    }

    auto lease = co_await here_.pool.borrow(peer, net::clock::now() + limits.connect, stop_);
    if (!lease) {
        co_return lost(lease.error());
    }
    connected_ = true;
    if (!machine_.sending(net::clock::now())) {
        lease->keep();
        co_return misuse("too late for the probe");
    }

    upstream::exchange_limits bounds;
    bounds.idle = limits.idle;
    bounds.first_byte = limits.first_byte;
    if (what.expects_stream && !bounds.first_byte) {
        bounds.first_byte = limits.first_byte_stream;
    }
    bounds.head.max_bytes = now_->policy->limits.response_header_bytes;
    bounds.head.max_fields = now_->policy->limits.response_header_fields;
    bounds.most_interim = now_->policy->limits.response_interim;
    unended_.reset();
    failed_event_.reset();
    exchange_ = std::make_unique<upstream::exchange>(std::move(*lease), stop_, bounds);
    auto sent = co_await exchange_->send(std::move(*head), std::move(what.body), body_.from());
    if (!sent) {
        co_return lost(sent.error());
    }
    auto answered = co_await exchange_->head();
    if (!answered) {
        co_return lost(answered.error());
    }
    const wire::response_head& is = **answered;
    status_ = is.status;
    for (const auto& each : is.fields) {
        if (leaks(each.value) || leaks(each.name)) {
            co_return leaked();
        }
    }
    action_ = talk_->step(adapters::event::head{is}, net::clock::now(), wall());
    co_return std::nullopt;
}

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
    action_ = talk_->step(adapters::event::text{text_}, net::clock::now(), wall());
    co_return std::nullopt;
}

net::task<std::optional<verdict>> dispatched::read_whole()
{
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
            co_return lost(bytes.error());
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
        if (!document_ && text_.size() + bytes->size() > longest_text) {
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
    action_ = talk_->step(adapters::event::whole{*index, text_}, net::clock::now(), wall());
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
                co_return lost(bytes.error());
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
            co_return lost(bytes.error());
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
    ended_ = false;
    mode_ = mode::events;
    auto bytes = co_await more_events(true);
    if (!bytes) {
        mode_ = mode::none;
        co_return std::move(bytes).error();
    }
    first_ = {.first = *bytes, .second = {}};
    first_given_ = false;
    co_return std::nullopt;
}

net::task<std::expected<std::string_view, verdict>> dispatched::more_events(bool until_content)
{
    ready_.clear();
    if (failed_event_) {
        co_return std::unexpected(std::move(*failed_event_));
    }
    bool content = !until_content;
    while (!ended_) {
        // Whole events that lie in the buffer already.
        while (const auto each = events_->next()) {
            if (each->oversize) { // too long to be looked at: it is content
                const auto passed = search_->feed(each->raw, each->complete);
                if (passed.leaked) {
                    co_return std::unexpected(leaked());
                }
                ready_.append(std::exchange(held_, {})).append(passed.first).append(passed.second);
                content = true;
                continue;
            }
            if (each->is_comment || (!each->has_data && each->name.empty())) {
                continue;
            }
            if (leaks(each->raw)) {
                co_return std::unexpected(leaked());
            }
            auto act = talk_->step(adapters::event::sse{each->name, each->data}, net::clock::now(), wall());
            if (const auto* forward = std::get_if<adapters::action::forward>(&act)) {
                if (!content && !forward->content && held_.size() < longest_held) {
                    held_.append(each->raw);
                    continue;
                }
                ready_.append(std::exchange(held_, {})).append(each->raw);
                content = true;
            } else if (auto* failed = std::get_if<adapters::action::fail>(&act)) {
                if (!until_content && !ready_.empty()) { // what came before it goes out first
                    failed_event_ = std::move(failed->why);
                    co_return std::string_view(ready_);
                }
                co_return std::unexpected(std::move(failed->why));
            } else if (std::holds_alternative<adapters::action::done>(act)) {
                ended_ = true;
                break;
            }
        }
        if (content && !ready_.empty()) {
            co_return std::string_view(ready_);
        }
        if (ended_) {
            break;
        }

        auto bytes = co_await exchange_->next();
        if (!bytes) {
            co_return std::unexpected(lost(bytes.error()));
        }
        if (!bytes->empty()) {
            events_->push(*bytes);
            continue;
        }

        // The end. A last event without its blank line counts: clients drop it, so it is completed.
        ended_ = true;
        const auto last = events_->finish();
        if (const auto passed = search_->feed(last && last->oversize ? last->raw : "", true); passed.leaked) {
            co_return std::unexpected(leaked());
        } else if (passed.size() != 0) {
            ready_.append(std::exchange(held_, {})).append(passed.first).append(passed.second).append("\n\n");
        }
        if (last && last->has_data && !exchange_->delimited() && cut_in_json(last->data)) {
            co_return std::unexpected(lost(cut_off()));
        }
        if (last && last->has_data && !last->oversize) {
            if (leaks(last->raw)) {
                co_return std::unexpected(leaked());
            }
            auto act = talk_->step(adapters::event::sse{last->name, last->data}, net::clock::now(), wall());
            if (std::holds_alternative<adapters::action::forward>(act)) {
                ready_.append(std::exchange(held_, {})).append(last->raw).append("\n\n");
            } else if (auto* failed = std::get_if<adapters::action::fail>(&act)) {
                co_return std::unexpected(std::move(failed->why));
            }
        }
        auto act = talk_->step(adapters::event::end{}, net::clock::now(), wall());
        if (auto* failed = std::get_if<adapters::action::fail>(&act)) {
            co_return std::unexpected(std::move(failed->why));
        }
    }
    ready_.append(std::exchange(held_, {}));
    co_return std::string_view(ready_);
}

net::task<result<dispatched::block>> dispatched::next()
{
    const auto broke = [this](verdict why) -> std::unexpected<failure> {
        const auto now = net::clock::now();
        count_bytes();
        told_ = true;
        if (abandoned()) {
            return abandon(now);
        }
        if (stop_.fired()) {
            machine_.out_of_time(now);
            return std::unexpected(failure{
                .what = stop_.why(), .text = "the answer took longer than the upstream's `timeout.total`"
            });
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
    };
    if (!first_given_) {
        first_given_ = true;
        if (first_.size() != 0 || mode_ != mode::events) {
            if (first_.size() == 0) {
                ended_ = true;
            }
            co_return first_;
        }
    }
    switch (mode_) {
    case mode::raw: {
        if (ended_) {
            co_return block{};
        }
        while (true) {
            auto bytes = co_await exchange_->next();
            if (!bytes) {
                co_return broke(lost(bytes.error()));
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
                auto act = talk_->step(adapters::event::end{}, net::clock::now(), wall());
                if (auto* failed = std::get_if<adapters::action::fail>(&act)) {
                    co_return broke(failed->why);
                }
            }
            if (ended_ || passed.size() != 0) {
                co_return block{.first = passed.first, .second = passed.second};
            }
        }
    }
    case mode::events: {
        auto bytes = co_await more_events(false);
        if (!bytes) {
            co_return broke(bytes.error());
        }
        co_return block{.first = *bytes, .second = {}};
    }
    case mode::plan: {
        auto more = co_await out_->next();
        if (!more) {
            co_return broke({.what = outcome::unavailable, .status = status_, .text = more.error().text});
        }
        if (more->size() == 0) {
            ended_ = true;
        }
        co_return *more;
    }
    case mode::none:
        break;
    }
    co_return block{};
}

void dispatched::leave(net::time_point now)
{
    const bool stopping = stop_.fired() && stop_.why() == code::stopping;
    machine_.left(now, stopping ? reason::stopping : reason::client_gone);
}

std::unexpected<failure> dispatched::abandon(net::time_point now)
{
    leave(now);
    const code why = stop_.why();
    return std::unexpected(
        failure{.what = why, .from = why == code::client_gone ? origin::client : origin::gateway}
    );
}

bool dispatched::all_buffered() const
{
    return mode_ == mode::raw && exchange_ && exchange_->complete();
}

void dispatched::count_bytes()
{
    if (auto* entry = machine_.current()) {
        entry->bytes_out = sent_ + (exchange_ ? exchange_->bytes_sent() : 0);
        entry->bytes_in = received_ + (exchange_ ? exchange_->bytes_received() : 0);
    }
}

net::task<void> dispatched::end_exchange()
{
    if (exchange_) {
        sent_ += exchange_->bytes_sent();
        received_ += exchange_->bytes_received();
        co_await exchange_->close();
        exchange_.reset();
    }
}

net::task<void> dispatched::finish(telemetry::access_record& record)
{
    const auto now = net::clock::now();
    co_await end_exchange();
    out_.reset();
    count_bytes();
    if (begun_ && !told_) {
        if (abandoned()) {
            leave(now);
        } else {
            verdict good = talk_->accepted(); // it may carry a cooldown: RateLimit with nothing left
            good.status = status_;
            machine_.told(good, now, wall());
        }
    }
    if (talk_) {
        record.used = talk_->used();
    }
    worker_.give_back();

    for (const auto& each : machine_.story()) {
        telemetry::attempt_record line;
        line.upstream = each.to->name;
        if (each.with != nullptr) {
            line.token = each.with->name;
        }
        line.status = each.status;
        line.outcome = each.what ? to_string(*each.what) : each.skipped ? to_string(*each.skipped) : "";
        line.bytes_sent = each.bytes_out;
        line.bytes_received = each.bytes_in;
        line.ms = std::chrono::duration<double, std::milli>(each.took).count();
        if (each.what) {
            here_.metrics.count_attempt(
                line.upstream,
                plan_.entry->name,
                line.outcome,
                line.ms / 1000,
                line.bytes_sent,
                line.bytes_received
            );
        }
        record.route.push_back(std::move(line));
    }
}

// Waits while the log's memory is full.
net::task<void> dispatched::room_in(payloads::replay& log)
{
    while (!log.wants_more() && log.failed() == nullptr && !stop_.fired()) {
        net::event room(here_.loop.get_executor());
        const net::interrupt::scope ends(stop_, [&room] { room.set(); });
        log.when_wants_more([&room] { room.set(); });
        co_await room.wait();
        log.when_wants_more(nullptr);
    }
}

net::task<void> dispatched::pause(net::time_point until)
{
    net::deadline over(here_.loop.deadlines, wake_.get(), [](void* self) {
        static_cast<net::event*>(self)->set();
    });
    over.arm(until);
    const net::interrupt::scope ends(stop_, [this] { wake_->set(); });
    co_await wake_->wait();
}

verdict dispatched::lost(const failure& what)
{
    if (what.again == retry::if_reused) { // a POST is not repeated, so it was worth avoiding
        ++here_.metrics.stale_connections;
    }
    if (what.from == origin::client) {
        client_fault_ = what;
    } else if (worker_ && !abandoned()) {
        if (is_garbage(what.what)) {
            replace_worker("answers what is no HTTP: " + what.text);
        } else {
            // Refused, reset, or out of time (the request's deadline too): the supervisor looks whether it
            // lives.
            here_.all.workers.lost(*target_.to, target_.model, worker_.where().generation);
        }
    }
    verdict made = classify_transport(what, connected_, exchange_ && exchange_->wrote_any());
    if (made.status == 0) {
        made.status = status_;
    }
    return made;
}

void dispatched::replace_worker(std::string why)
{
    here_.all.workers.replace(*target_.to, target_.model, worker_.where().generation, std::move(why));
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
