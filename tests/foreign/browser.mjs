// Opens a page in headless Chromium and prints what an expression says there, as soon as it says something.
// browser.mjs URL EXPRESSION
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const { WebSocket } = createRequire(import.meta.url)('ws');
const [url, expression] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), 'browser-'));
const chromium = spawn('chromium', ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
    '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'] });
const end = code => {
    chromium.once('exit', () => {
        rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
        process.exit(code);
    });
    chromium.kill('SIGKILL');
};
process.on('SIGTERM', () => end(1));

// It says where its debugger listens.
const debuggerUrl = await new Promise(resolve => {
    let said = '';
    chromium.stderr.on('data', data => {
        said += data;
        const found = /DevTools listening on (ws:\S+)/.exec(said);
        if (found) resolve(found[1]);
    });
});
const socket = new WebSocket(debuggerUrl);
await new Promise(resolve => socket.once('open', resolve));
const waiting = new Map();
let requests = 0;
socket.on('message', data => {
    const answer = JSON.parse(data);
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
});
const ask = (method, params, sessionId) => new Promise(resolve => {
    requests += 1;
    waiting.set(requests, resolve);
    socket.send(JSON.stringify({ id: requests, method, params, sessionId }));
});
const { result: { targetId } } = await ask('Target.createTarget', { url });
const { result: { sessionId } } = await ask('Target.attachToTarget', { targetId, flatten: true });
// The page itself tells of its changes.
const script = `new Promise(resolve => {
    const look = () => { let said; try { said = ${expression}; } catch {} if (said) { resolve(String(said)); return true; } };
    if (look()) return;
    const start = () => { const observer = new MutationObserver(() => look() && observer.disconnect());
        observer.observe(document, { subtree: true, childList: true, characterData: true }); look(); };
    document.readyState === 'loading' ? addEventListener('DOMContentLoaded', start) : start();
})`;
let answer;
do {
    // A page that is being loaded ends the evaluation in the one before it.
    answer = await ask('Runtime.evaluate', { expression: script, awaitPromise: true, returnByValue: true }, sessionId);
} while (answer.error);
console.log(answer.result.result.value);
end(answer.result.exceptionDetails ? 1 : 0);
