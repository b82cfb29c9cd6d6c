#include "ingress/request_run.hpp"

#include "auth/authenticate.hpp"
#include "payload/tasks.hpp"
#include "telemetry/log.hpp"
#include "wire/target.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace gw::ingress {
namespace {

constexpr std::size_t pipelined =
    4 * 1024; // bytes of the next requests that are taken while one is worked on

std::string new_request_id(std::mt19937_64& random)
{
    std::string text(32, '0');
    std::size_t at = 0;
    for (std::uint64_t value : {random(), random()}) {
        for (int digit = 0; digit < 16; ++digit, value >>= 4U) {
            text[at++] = "0123456789abcdef"[value & 0xfU];
        }
    }
    return text;
}

constexpr std::chrono::milliseconds stop_stall{500}; // for the last words to a client, when the gateway stops

double ms_since(net::time_point began, net::time_point now)
{
    return std::chrono::duration<double, std::milli>(now - began).count();
}

} // namespace

// ---- the way of a request ----

net::task<after> serve(client_side& from, std::size_t head_size)
{
    request_run run(from, head_size);
    lean<void> done;
    try {
        done = co_await run.go();
        if (done && run.has_answer()) {
            done = co_await run.pump(); // the answer in the client's shape
        }
    } catch (const std::exception& bug) { // a bug, or no memory: this request's only
        done = std::unexpected(failure{.what = code::internal, .detail = bug.what(), .close = true});
    }
    if (!done) {
        co_await run.refuse(std::move(*done.error()));
    }
    const after then = co_await run.finish(); // every request ends in its access record
    co_return then;
}

net::task<lean<void>> request_run::go()
{
    // Which door: from here on errors have its shape. Then who: before a byte of the body is asked for.
    auto found = find_door();
    if (!found) {
        co_return fail(found);
    }
    if (no_door_ && from_.head.verb == wire::method::options) {
        co_return std::unexpected(*no_door_
        ); // a browser's preflight carries no key; it learns what is allowed: nothing
    }
    auto allowed = authenticate();
    if (!allowed) {
        co_return fail(allowed);
    }
    if (no_door_) {
        co_return std::unexpected(*no_door_);
    }
    if (door_->at == door::health || door_->at == door::openai_models) {
        auto answered = co_await answer_ourselves();
        co_return answered;
    }

    auto kept = keep_head();
    if (!kept) {
        co_return fail(kept);
    }
    body_ = std::make_unique<body>(here_, policy_, from_.wire, from_.in, stop_, head_size_);
    auto read = co_await body_->begin(from_.head, door_->at);
    if (!read) {
        co_return fail(read);
    }
    if (!body_->unread()) {
        watch_client();
    }
    // dialect -> normalized request
    result<void> asked;
    if (body_->in_memory()) {
        asked = parse(body_->facts_in_memory());
    } else {
        auto facts = co_await body_->facts();
        asked = parse(std::move(facts));
    }
    if (!asked) {
        co_return fail(asked);
    }
    auto planned = decide(); // allowed? which candidates, in which order
    if (planned && plan_.asks_hub) {
        planned = co_await ask_hub(); // which ways the model has; then decide again
    }
    if (!planned) {
        co_return fail(planned);
    }
    auto answered = co_await dispatch(); // attempt by attempt, up to the first content
    if (!answered) {
        co_return fail(answered);
    }
    co_return lean<void>{};
}

// ---- the stages ----

request_run::request_run(client_side& from, std::size_t head_size)
    : from_(from), here_(from.here), now_(from.here.now), policy_(*now_->policy), head_size_(head_size),
      began_(net::clock::now()),
      limit_(
          from.here.loop.deadlines,
          &stop_,
          [](void* stop) { static_cast<net::interrupt*>(stop)->fire(code::timeout); }
      ),
      out_(from.wire, now_->policy->limits.write_timeout)
{
    record_.at = net::wall_clock::now();
    record_.dialect = "none";
    record_.door = "none";
    const auto& head = from_.head;
    request_id_ =
        sane_request_id(head.request_id) ? std::string(head.request_id) : new_request_id(here_.random);
    close_ = !head.keep_alive;
    from_.running = &stop_;
    ++here_.metrics.requests_in_flight;
}

const dialects::dialect& request_run::tongue() const
{
    return door_ && door_->tongue != nullptr ? *door_->tongue : dialects::fallback_dialect();
}

result<void> request_run::find_door()
{
    auto target = wire::parse_target(from_.head.target);
    if (!target) {
        return fail(target);
    }
    // RFC 9112 section 3.2.2: an absolute target replaces Host; two opinions are refused.
    std::string_view wrong;
    if (!target->authority.empty() && !wire::same_name(target->authority, from_.head.host)) {
        wrong = "the request target and Host name different hosts";
    } else if (target->path == "*" && from_.head.verb != wire::method::options) {
        wrong = "the request target `*` is for OPTIONS only";
    }
    if (!wrong.empty()) {
        failure why{
            .what = code::bad_framing, .from = origin::client, .text = std::string(wrong), .close = true
        };
        return std::unexpected(std::move(why));
    }
    path_ = target->path;
    query_ = target->query;
    auto found = dialects::find_door(path_, from_.head.verb);
    if (found) {
        door_ = std::move(*found);
        record_.door = to_string(door_->at);
        record_.dialect = to_string(door_->tongue->id());
    } else {
        no_door_ = std::move(found).error(); // told after the key was checked
    }
    return {};
}

result<void> request_run::authenticate()
{
    if (door_ && door_->at == door::health) {
        return {};
    }
    if (policy_.open) {
        auto local = auth::check_local(from_.head.host, from_.head.origin, policy_);
        if (!local) {
            return local;
        }
    }
    auto who = from_.caller.authenticate(from_.head.authorization, from_.head.x_api_key, now_->keys);
    if (!who) {
        return fail(who);
    }
    if (*who != nullptr && auth::repeats_key(query_, from_.head.authorization, from_.head.x_api_key)) {
        return gw::refuse(
            code::unauthenticated,
            "the client key stands in the query, where it is passed on: send it in its field only"
        );
    }
    who_ = *who;
    record_.client = who_ != nullptr ? who_->name : "anonymous";
    return take_place();
}

// A connection counts for the client whose key it showed last; without keys, for the address it came from.
result<void> request_run::take_place()
{
    const std::size_t most = policy_.limits.connections_per_client;
    if (who_ == nullptr && from_.address.empty()) {
        from_.address = from_.wire.remote();
    }
    if (from_.place.enter(here_.all.clients, who_ != nullptr ? who_->name : from_.address, most)) {
        return {};
    }
    ++here_.metrics.connections_refused;
    failure why{
        .what = code::overloaded,
        .text = (who_ != nullptr ? "this key" : "this address") +
                std::string(" has as many connections as it may have, ") + std::to_string(most) +
                "; use one of them, or try again in a second. The policy's `limits.connections_per_client` "
                "raises that"
    };
    why.retry_after = std::chrono::seconds(1);
    why.close = true;
    return std::unexpected(std::move(why));
}

net::task<lean<void>> request_run::answer_ourselves()
{
    const auto& head = from_.head;
    if (has_body()) {
        close_ = true; // nobody wants it
    }
    std::string text;
    if (door_->at == door::health) {
        text = R"({"status":"ok"})";
    } else {
        const auto line_of = [](const config::model_entry& entry) {
            return dialects::model_line{
                .id = entry.name,
                .task = entry.task != nullptr ? std::string(entry.task->name) : entry.task_name
            };
        };
        const auto since =
            std::chrono::duration_cast<std::chrono::seconds>(record_.at.time_since_epoch()).count();
        if (!door_->model.empty()) {
            auto one = policy::resolve(door_->model, who_, policy_);
            if (one && !policy::allowed(who_, one->model)) {
                one = std::unexpected(failure{
                    .what = code::unknown_model,
                    .from = origin::client,
                    .text = "there is no model `" + door_->model + "` here"
                });
            }
            if (!one) {
                co_return fail(one);
            }
            dialects::model_line line = line_of(*one->entry);
            line.id = door_->model;
            text = dialects::model_body(line, since);
        } else {
            std::vector<dialects::model_line> lines;
            for (const auto& each : policy_.models) {
                if (!each->pattern && policy::allowed(who_, each->name)) {
                    lines.push_back(line_of(*each));
                }
            }
            text = dialects::models_body(lines, since);
        }
    }
    const bool no_body = head.verb == wire::method::head;
    reply_head reply = head_of(200, "application/json");
    reply.length = text.size();
    out_.begin(reply);
    auto sent = co_await out_.finish(no_body ? std::string_view{} : std::string_view(text));
    co_return sent;
}

// What the buffer does not hold yet of the request moves the buffer when it comes.
result<void> request_run::keep_head()
{
    auto& head = from_.head;
    const bool in_buffer =
        head.body == wire::framing::none ||
        (head.body == wire::framing::sized && from_.in.data().size() - head_size_ >= head.content_length);
    if (!in_buffer) {
        from_.copy.assign(from_.in.data().substr(0, head_size_));
        wire::head_limits limits{
            policy_.limits.header_bytes, policy_.limits.header_fields, policy_.limits.target_bytes
        };
        auto again = wire::scan_request_head(from_.copy, limits, head);
        auto target =
            again ? wire::parse_target(head.target) : result<wire::target>(std::unexpected(failure{}));
        if (!target) {
            return std::unexpected(
                failure{.what = code::internal, .detail = "a head that scans only once", .close = true}
            );
        }
        path_ = target->path;
        query_ = target->query;
    }
    return {};
}

// From here on the outstanding read tells when the client leaves.
void request_run::watch_client()
{
    from_.in.watch(pipelined, [this] {
        if (!policy_.limits.half_close || from_.in.failed() != net::asio::error::eof) {
            stop_.fire(code::client_gone);
        }
    });
}

result<void> request_run::parse(result<dialects::body_facts> facts)
{
    if (!facts) {
        return fail(facts);
    }
    facts_ = std::move(*facts);
    auto asked = door_->tongue->parse(*door_, from_.head, query_, facts_);
    if (!asked) {
        return fail(asked);
    }
    asked_ = std::move(*asked);
    asked_.client = record_.client;
    asked_.request_id = request_id_;
    asked_.arrived = std::chrono::duration_cast<std::chrono::seconds>(record_.at.time_since_epoch()).count();
    record_.model = asked_.model;
    record_.task = asked_.task != nullptr ? asked_.task->name : std::string_view(asked_.task_name);
    return {};
}

result<void> request_run::decide()
{
    auto plan = policy::decide(who_, asked_, policy_, here_.random(), hub_.get());
    if (!plan) {
        return fail(plan);
    }
    plan_ = std::move(*plan);
    if (plan_.asks_hub) {
        return {};
    }
    record_.entry = plan_.entry->name;
    if (plan_.task != nullptr) {
        record_.task = plan_.task->name;
    }
    auto settled =
        dialects::settle_task(asked_, plan_.task, facts_); // the policy may be the first to know the task
    if (!settled) {
        return settled;
    }
    if (asked_.binary && asked_.binary->size > policy_.limits.payload_bytes) {
        return gw::refuse(
            code::body_too_large,
            "the payload has " + std::to_string(asked_.binary->size) +
                " bytes when it is decoded, more than " + std::to_string(policy_.limits.payload_bytes) +
                "; the policy's `limits.payload_bytes` raises that"
        );
    }
    return {};
}

net::task<result<void>> request_run::ask_hub()
{
    if (here_.all.hub == nullptr) {
        hub_ = std::make_shared<const hub_answer>(); // nothing is known
    } else {
        const auto asked = net::clock::now();
        hub_ = co_await here_.all.hub->ask(here_.loop, plan_.model, stop_);
        record_.ms_hub = ms_since(asked, net::clock::now());
    }
    if (stop_.fired()) {
        co_return std::unexpected(failure{.what = stop_.why()});
    }
    co_return decide();
}

net::task<result<void>> request_run::dispatch()
{
    std::chrono::milliseconds budget = plan_.entry->fallback.deadline;
    if (asked_.timeout) {
        budget = std::min(budget, *asked_.timeout);
    }
    const auto deadline = net::clock::now() + budget;
    work_ = std::make_unique<dispatch::dispatched>(here_, now_, asked_, plan_, *body_, stop_, limit_);
    if (body_->whole()) {
        limit_.arm(deadline);
        watch_client(); // it may have become whole just now
    } else {
        // The client's own time is not counted: the deadline runs from its last byte.
        body_->on_whole = [this, budget] {
            if (!begun_) {
                limit_.arm(net::clock::now() + budget);
            }
            watch_client();
        };
    }
    if (asked_.stream) {
        tick_ = std::make_unique<net::event>(here_.loop);
        waiting_ended_ = std::make_unique<net::event>(here_.loop);
        waiting_ = true;
        net::spawn(keep_waiting(), [this](const std::exception_ptr&) {
            waiting_ = false;
            waiting_ended_->set();
        });
    }
    auto answer = co_await work_->begin(body_->whole() ? deadline : net::never);
    begun_ = true;
    if (!answer) {
        limit_.disarm(); // else it holds what limits the rest: `timeout.total`
    }
    if (tick_) {
        co_await stop_waiting();
    }
    co_return answer;
}

// ---- the two ends ----

bool request_run::has_body() const
{
    return from_.head.body == wire::framing::chunked ||
           (from_.head.body == wire::framing::sized && from_.head.content_length != 0);
}

bool request_run::unread() const
{
    return released_ ? unread_ : body_ ? body_->unread() : has_body();
}

// Lets go of the request's bytes, and of what refers to them: from here on the views in from_.head lead
// nowhere. A stream that is held for hours holds no request.
// REQUIRES no attempt will send them, and its body is not being received.
void request_run::release_request()
{
    if (released_) {
        return;
    }
    unread_ = unread();
    released_ = true;
    std::size_t done = head_size_;
    if (body_) {
        record_.bytes_in = body_->size();
        record_.no_copy = body_->without_copy();
        done = body_->in_buffer();
        body_.reset();
    }
    facts_ = {};
    asked_.members = {};
    from_.copy = {};
    from_.in.consume(done);
    from_.in.give_back();
}

net::task<void> request_run::refuse(failure why)
{
    co_await stop_waiting(); // one writer at a time
    if (stop_.fired() && stop_.why() == code::stopping) {
        why = {.what = code::stopping}; // also when it was noticed by a write that was given up
    }
    record_.error = to_string(why.what);
    if (why.what == code::stopping) {
        why.what = code::overloaded;
        why.text = "the gateway is being stopped and ended this request before it was done; send it again";
        why.retry_after = std::chrono::seconds(1);
        why.close = true;
        out_.stall(stop_stall);
    }
    close_ = close_ || why.close || unread();
    if (why.what == code::internal) {
        ++here_.metrics.internal_errors;
        telemetry::log(
            telemetry::level::error, "internal error", {{"request_id", request_id_}, {"detail", why.detail}}
        );
    }
    if (why.what == code::client_gone) {
        record_.status = 499;
        co_return;
    }
    if (why.what == code::timeout && why.text.empty()) {
        why.text =
            "the request's deadline is over; `fallback.deadline` in the policy or x-fourways-timeout sets it";
    }

    if (committed_ || out_.begun()) {
        // The 200 is out. A stream gets one error event; everything else is cut, so that nobody takes it for
        // whole.
        if (out_.event_stream() && out_.framing() != body_length::sized && !out_.finished()) {
            const std::string text = tongue().error_event(why, request_id_);
            (void)co_await out_.write(text);
        }
        co_return;
    }
    if (work_) {
        route_ = work_->route();
        upstream_ = work_->upstream_name();
    }
    std::string text = tongue().error_body(why, request_id_);
    reply_head reply = head_of(tongue().status_of(why), "application/json");
    reply.retry_after = why.retry_after;
    if (why.what == code::method_not_allowed) {
        reply.allow = why.allow.empty() ? wire::allowed_methods : std::string_view(why.allow);
    }
    reply.length = text.size();
    out_.begin(reply);
    const bool no_body = from_.head.verb == wire::method::head;
    auto sent = co_await out_.finish(no_body ? std::string_view{} : std::string_view(text));
    if (!sent) {
        record_.status = 499;
    }
}

net::task<after> request_run::finish()
{
    if (tick_) {
        co_await stop_waiting();
    }
    if (work_) {
        co_await work_->finish();
        work_->fill(record_);
        work_.reset();
    }
    limit_.disarm();
    from_.running = nullptr;
    if (body_) {
        co_await body_->stop();
    }
    release_request();
    from_.in.unwatch();

    const auto now = net::clock::now();
    record_.request_id = request_id_;
    if (record_.status == 0) {
        record_.status =
            stop_.fired() && stop_.why() == code::client_gone && !out_.finished() ? 499 : out_.status();
    }
    record_.bytes_out = out_.bytes();
    if (out_.sent_head()) {
        record_.ms_first_byte = ms_since(began_, out_.first_byte());
    }
    record_.ms = ms_since(began_, now);
    here_.metrics.bytes_from_clients += record_.bytes_in;
    here_.metrics.bytes_to_clients += record_.bytes_out;
    here_.metrics.no_copy += record_.no_copy ? 1 : 0;
    --here_.metrics.requests_in_flight;
    here_.metrics.count_request(
        record_.entry.empty() ? "none" : std::string_view(record_.entry),
        record_.door,
        record_.status,
        record_.ms / 1000
    );
    here_.log.add(record_);

    if (record_.status == 499) {
        co_return out_.sent_head() ? after::close : after::linger; // it may have closed its half only
    }
    if (!out_.finished()) {
        co_return out_.sent_head() && out_.framing() == body_length::until_close ? after::cut
                                                                                 : after::linger_cut;
    }
    co_return unread() || close_ || out_.close_after() ? after::linger : after::keep;
}

net::task<void> refuse_head(client_side& from, const failure& why)
{
    telemetry::access_record record;
    record.at = net::wall_clock::now();
    record.dialect = record.door = "none";
    record.request_id = sane_request_id(from.head.request_id) ? std::string(from.head.request_id)
                                                              : new_request_id(from.here.random);
    record.error = to_string(why.what);
    const auto& tongue = dialects::fallback_dialect();
    const std::string text = tongue.error_body(why, record.request_id);
    reply_head reply{
        .status = tongue.status_of(why),
        .content_type = "application/json",
        .length = text.size(),
        .close = true
    };
    reply.request_id = record.request_id;
    reply.retry_after = why.retry_after;
    if (why.what == code::method_not_allowed) {
        reply.allow = wire::allowed_methods;
    }
    writer out(from.wire, from.here.now->policy->limits.write_timeout);
    out.begin(reply);
    auto sent = co_await out.finish(
        from.head.verb == wire::method::head ? std::string_view{} : std::string_view(text)
    );
    record.status = sent ? reply.status : 499;
    record.bytes_out = out.bytes();
    from.here.metrics.count_request("none", "none", record.status, 0);
    from.here.log.add(record);
}

} // namespace gw::ingress
