// The answer's way to the client: in its shape, as it arrives.
#include "ingress/request_run.hpp"

#include "payload/base64.hpp"

namespace gw::ingress {

reply_head request_run::head_of(int status, std::string_view content_type) const
{
    reply_head head;
    head.status = status;
    head.content_type = content_type;
    head.request_id = request_id_;
    head.route = route_;
    head.upstream = upstream_;
    head.close = close_ || here_.draining;
    return head;
}

// No coroutine itself: a stream may be held for hours, and each that waits below it costs memory.
net::task<lean<void>> request_run::pump()
{
    using is = dialects::dialect::answer_is;
    const adapters::answer_head& answer = work_->answer();
    const is kind = answer.kind == adapters::answer_kind::json    ? answer.as_asked ? is::own_json : is::json
                    : answer.kind == adapters::answer_kind::bytes ? is::bytes
                                                                  : is::events;
    auto shape = tongue().render(asked_, kind, answer.media_type);
    if (!shape) {
        return failed(std::move(shape).error());
    }
    route_ = work_->route();
    upstream_ = work_->upstream_name();
    close_ = close_ || unread(); // answered before the request was whole: nothing can follow it here

    if (shape->as == dialects::rendering::how::chunked_events) {
        return pump_as_events();
    }
    if (shape->as == dialects::rendering::how::reworded) {
        return pump_reworded();
    }
    if (!committed_) {
        reply_head head = head_of(200, shape->content_type);
        head.event_stream = shape->as == dialects::rendering::how::events;
        std::optional<std::uint64_t> length = answer.length;
        if (shape->as == dialects::rendering::how::base64_json && length) {
            length = shape->before.size() + (*length + 2) / 3 * 4 + shape->after.size();
        }
        head.length = length.value_or(0);
        head.as = length                  ? body_length::sized
                  : from_.head.minor == 0 ? body_length::until_close
                                          : body_length::chunked;
        out_.begin(head);
    }
    if (shape->as == dialects::rendering::how::base64_json) {
        return pump_base64(std::move(*shape));
    }
    if (kind == is::events && body_->whole() && work_->sent()) {
        release_request();
    }
    return pump_as_is();
}

net::task<lean<void>> request_run::failed(failure why)
{
    co_return std::unexpected(std::move(why));
}

net::task<lean<void>> request_run::pump_as_is()
{
    while (true) {
        lean<upstream::plan_reader::block> block;
        if (const auto first = work_->at_hand()) {
            block = *first;
        } else {
            block = co_await work_->next();
        }
        if (!block) {
            co_return fail(block);
        }
        const bool last = block->size() == 0 || work_->all_buffered();
        std::string told; // a block with the route in it
        if (committed_ && !route_told_) {
            told.assign(block->first).append(block->second);
            tell_route(told, last);
            *block = {.first = told, .second = {}};
        }
        if (last) {
            auto sent = co_await out_.finish(block->first, block->second);
            if (!sent) {
                co_return fail(sent);
            }
            if (block->size() != 0) {
                // The upstream's end was seen; let the conversation see it too.
                auto end = co_await work_->next();
                (void)end;
            }
            co_return lean<void>{};
        }
        auto sent = co_await out_.write(block->first, block->second);
        if (!sent) {
            stop_.fire(code::client_gone);
            co_return fail(sent);
        }
    }
}

net::task<lean<void>> request_run::pump_base64(dialects::rendering shape)
{
    payloads::base64_encoder encoder;
    std::string text = shape.before;
    while (true) {
        auto block = co_await work_->next();
        if (!block) {
            co_return fail(block);
        }
        const bool last = block->size() == 0;
        for (const std::string_view part : {block->first, block->second}) {
            const std::size_t had = text.size();
            text.resize(had + payloads::base64_encoder::max_output(part.size()));
            text.resize(had + encoder.feed(part, text.data() + had));
        }
        if (last) {
            const std::size_t had = text.size();
            text.resize(had + 4);
            text.resize(had + encoder.finish(text.data() + had));
            text += shape.after;
        }
        auto sent = last ? co_await out_.finish(text) : co_await out_.write(text);
        if (!sent) {
            stop_.fire(code::client_gone);
            co_return fail(sent);
        }
        if (last) {
            co_return lean<void>{};
        }
        text.clear();
    }
}

// The whole of a JSON answer.
net::task<lean<std::string>> request_run::collect()
{
    std::string json;
    while (true) {
        auto block = co_await work_->next();
        if (!block) {
            co_return fail(block);
        }
        if (block->size() == 0) {
            break;
        }
        json.append(block->first).append(block->second);
        if (json.size() > policy_.limits.json_bytes) {
            co_return std::unexpected(failure{
                .what = code::unavailable,
                .from = origin::upstream,
                .text = "the upstream's answer is longer than `limits.json_bytes`"
            });
        }
    }
    co_return json;
}

net::task<lean<void>> request_run::pump_reworded()
{
    auto json = co_await collect();
    if (!json) {
        co_return fail(json);
    }
    auto answer = tongue().answer_of(asked_, std::move(*json));
    if (!answer) {
        co_return fail(answer);
    }
    reply_head head = head_of(200, "application/json");
    head.length = answer->size();
    head.as = body_length::sized;
    out_.begin(head);
    auto sent = co_await out_.finish(*answer);
    co_return sent;
}

net::task<lean<void>> request_run::pump_as_events()
{
    auto json = co_await collect();
    if (!json) {
        co_return fail(json);
    }
    commit_stream();
    std::string events = tongue().events_from_answer(asked_, *json);
    if (committed_) {
        tell_route(events, true);
    }
    auto sent = co_await out_.finish(events);
    co_return sent;
}

// The head went out before the route was known: a comment tells it, before the stream's last event.
void request_run::tell_route(std::string& events, bool last)
{
    static constexpr std::string_view done = "data: [DONE]";
    std::size_t at = events.starts_with(done) ? 0 : events.rfind("\ndata: [DONE]");
    if (at == std::string::npos) {
        if (!last) {
            return;
        }
        at = events.size();
    } else if (at != 0) {
        ++at;
    }
    events.insert(at, ": x-fourways-route: " + work_->route() + "\n\n");
    route_told_ = true;
}

void request_run::commit_stream()
{
    if (committed_ || out_.begun()) {
        return;
    }
    if (work_) {
        route_ = work_->route();
        upstream_ = work_->upstream_name();
    }
    reply_head head = head_of(200, "text/event-stream; charset=utf-8");
    head.event_stream = true;
    head.as = from_.head.minor == 0 ? body_length::until_close : body_length::chunked;
    out_.begin(head);
}

net::task<void> request_run::keep_waiting()
{
    net::deadline due(here_.loop.deadlines, tick_.get(), [](void* tick) {
        static_cast<net::event*>(tick)->set();
    });
    while (!end_waiting_) {
        due.arm(net::clock::now() + policy_.limits.waiting_comment);
        co_await tick_->wait();
        if (end_waiting_ || stop_.fired()) {
            break;
        }
        commit_stream();
        committed_ = true;
        auto sent = co_await out_.write(": waiting\n\n");
        if (!sent) {
            stop_.fire(code::client_gone);
            break;
        }
    }
}

net::task<void> request_run::stop_waiting()
{
    if (!tick_) {
        co_return;
    }
    end_waiting_ = true;
    if (waiting_) {
        tick_->set();
        co_await waiting_ended_->wait();
    }
}

} // namespace gw::ingress
