// The page's texts in English and Korean. Findings and their messages come from the audit, in English.

const EN = {
  title: 'Review', open: 'open', kept: 'kept', corrected: 'corrected', excluded: 'excluded', flagged: 'flagged', disputed: 'disputed',
  all: 'all', mine: 'not judged by me', drafts: 'with unsaved edits', low: 'low', medium: 'medium', high: 'high',
  check: 'Check', bone: 'Bone', severity: 'Severity', state: 'State', author: 'Judged by', search: 'Image or patient',
  any_check: 'all checks', any_bone: 'all bones', any_severity: 'all severities', any_author: 'judged by anyone', all_states: 'all states',
  done_of: '{done} of {all} judged', shown_of: '{shown} of {all} findings', keep_shown: 'Keep these {count}…', nothing_found: 'No finding matches the filter.',
  no_findings: 'The audit has no findings.', reset_filter: 'Reset filter',
  saved_at: 'Saved {time}', saving: 'Saving…', not_saved: 'Not saved', all_saved: 'All saved', unsaved: 'Unsaved edit, kept as draft', offline: 'The server does not answer. Edits are kept in this browser; nothing else is saved until it answers again.',
  back_online: 'The server answers again.', unauthorised: 'This page has no valid token: open the link that `carpus review` printed.',
  keep: 'Keep', keep_title: 'The annotation is correct', exclude: 'Exclude', exclude_title: 'Leave the image out', accept: 'Accept', accept_title: 'Relabel as proposed',
  flag: 'Flag', flag_title: 'Have another person look at it', save: 'Save correction', discard: 'Discard', next: 'Next', previous: 'Previous',
  reason: 'Reason', reason_hint: 'optional; click one below', undo: 'Undo', redo: 'Redo', side_l: 'Left hand', side_r: 'Right hand',
  reasons: ['ring or jewellery', 'labels exchanged', 'outline inaccurate', 'overlapping bones, drawn correctly', 'unusual anatomy', 'fracture or implant', 'not a fault: false alarm'],
  finding: 'Finding', score: 'score {score}', patient: 'Patient', person: '{sex}, {age} years, {height} cm, {weight} kg', male: 'man', female: 'woman',
  right: 'right hand', left: 'left hand', unknown_side: 'side unknown', whole_image: 'whole image', proposal: 'Proposed labels', before: 'Before', after: 'After', compare: 'Compare',
  reference: 'Reference: {bone}', reference_caption: 'The bone in five typical hands of this data set.', median_caption: 'The hand nearest to the median of all hands', no_reference: 'Select a bone to compare it with typical hands.',
  other_hand: 'Other hand of the patient', mirrored: 'mirrored', no_other: 'There is no other image of this patient.',
  history: 'Decisions about this image', none_yet: 'None yet.', undone: 'undone', by: 'by {author}', line: 'line {line}',
  problems: 'Notes on the annotation', not_in_data: 'The image of this finding is not in the data.', no_annotation: 'This image has no annotation.', loading: 'Loading…', cannot_show: 'The image cannot be shown: {reason}',
  saved_keep: 'Kept', saved_exclude: 'Excluded', saved_accept: 'Relabelled as proposed', saved_flag: 'Flagged', saved_side: 'Side set', saved_correct: 'Correction saved: {count}', undone_decision: 'Undone: {what}', redone_decision: 'Restored: {what}', nothing_to_undo: 'Nothing to undo.', nothing_to_redo: 'Nothing to redo.',
  no_proposal: 'This finding proposes no labels.', unsaved_first: 'Save or discard the edit first.', nothing_changed: 'Nothing was changed.',
  draft_restored: 'Your unsaved edit was restored.', draft_old: 'Your unsaved edit was made on an earlier state of the annotation.', draft_apply: 'Apply it', 
  changed_elsewhere: '{author} has decided about this image: {what}.', look_again: 'Show the new state', conflict: 'Not saved: {reason}',
  who: 'Who are you?', who_text: 'Your name is stored with every decision.', name: 'Name', start: 'Start', cancel: 'Cancel', close: 'Close', ok: 'OK',
  keep_many: 'Keep {count} findings?', keep_many_text: 'All findings of the current filter that you have not kept yet are marked as correct: {checks}. They can be undone one by one or together.', kept_many: 'Kept {count} findings',
  help: 'Keys and tools', settings: 'Keys', progress: 'Progress', preset: 'Keymap', own: 'own', conflict_keys: 'Used twice or reserved: {keys}', press_key: 'press a key', keys_saved: 'Keymap saved.',
  mouse: 'Mouse', mouse_text: 'Wheel: zoom at the cursor. Drag: move the image. Click: select a bone, again for the one below. Right button or Alt and drag: brightness and contrast.',
  judged: 'judged', curator: 'Curator', agreement: 'Agreement', both: 'judged by both', same: 'same', kappa: "Cohen's kappa", undefined: 'not defined', download_html: 'Summary (HTML)', download_csv: 'Summary (CSV)', total: 'total', copy_link: 'Link', link_copied: 'Link to this finding copied (it works in browsers that have opened the page).',
  tool_select: 'Select', tool_vertices: 'Vertices', tool_pen: 'Pen', tool_brush: 'Brush', tool_eraser: 'Eraser', tool_swap: 'Exchange labels', tool_label: 'Label', tool_drop: 'Remove shape', tool_fit: 'Fit', tool_focus: 'Zoom to finding', tool_fill: 'Fill', tool_hide: 'Hide', tool_solo: 'Only these', tool_invert: 'Invert', tool_levels: 'Reset levels', tool_names: 'Names', tool_export: 'To labelme', tool_import: 'From labelme', imported: 'Read from the labelme file; save it, or undo.', opacity: 'Opacity', brightness: 'Levels',
  select_first: 'Click a bone first.', hint_select: '', hint_vertices: 'Drag a vertex; click an edge to add one; Shift+click or Delete removes.', hint_pen: 'Click or drag along the new outline; Enter or double click closes it.', hint_pen_points: '{count} points; Enter closes the outline, Backspace takes one back.', hint_pen_done: 'Outline redrawn.', hint_brush: 'Paint to add; [ and ] change the size.', hint_eraser: 'Paint to remove; [ and ] change the size.', hint_swap: 'Click the two bones whose labels to exchange.', hint_swap_second: '{label}: now click the other bone.', three_points: 'An outline has at least 3 different points.', nothing_left: 'Nothing would be left; use Remove shape.', no_server_mask: 'The brush needs the server, which does not answer.',
  choose_label: 'New label', position: '{x}, {y}', restore_filter: 'Clear',
  keys: { next: 'next finding', previous: 'previous finding', accept: 'accept the proposal, or save the edit', keep: 'keep: the annotation is correct', exclude: 'exclude the image', flag: 'flag for another person', save: 'save the edit', undo: 'undo the last step or decision', redo: 'redo', reason: 'write a reason', compare: 'before and after the proposal', hide: 'hide or show outlines', solo: 'only the bones of the finding', fill: 'fill or outlines', names: 'names', invert: 'invert grey levels', fit: 'whole image', focus: 'zoom to the finding', zoom_in: 'zoom in', zoom_out: 'zoom out', levels: 'reset grey levels', select: 'select', vertices: 'edit vertices', pen: 'redraw with the pen', brush: 'brush', eraser: 'eraser', smaller: 'smaller brush', larger: 'larger brush', swap: 'exchange two labels', label: 'choose a label', drop: 'remove the vertex or shape', export: 'save the shapes as a labelme file', import: 'read a changed labelme file', search: 'search', help: 'this help' },
  checks: {},
};

const KO = {
  title: '검토', open: '미검토', kept: '유지', corrected: '수정됨', excluded: '제외', flagged: '재확인', disputed: '의견 다름',
  all: '전체', mine: '내가 판정하지 않음', drafts: '저장 안 된 수정', low: '낮음', medium: '중간', high: '높음',
  check: '검사', bone: '뼈', severity: '심각도', state: '상태', author: '판정자', search: '영상 또는 환자',
  any_check: '모든 검사', any_bone: '모든 뼈', any_severity: '모든 심각도', any_author: '모든 판정자', all_states: '모든 상태',
  done_of: '{all}건 중 {done}건 판정', shown_of: '{all}건 중 {shown}건', keep_shown: '{count}건 모두 유지…', nothing_found: '조건에 맞는 항목이 없습니다.',
  no_findings: '검사 결과가 없습니다.', reset_filter: '조건 지우기',
  saved_at: '{time} 저장됨', saving: '저장 중…', not_saved: '저장 안 됨', all_saved: '모두 저장됨', unsaved: '저장 안 된 수정 (임시 보관)', offline: '서버가 응답하지 않습니다. 수정 내용은 이 브라우저에 보관되며, 응답할 때까지 저장되지 않습니다.',
  back_online: '서버가 다시 응답합니다.', unauthorised: '유효한 토큰이 없습니다. `carpus review`가 출력한 링크를 여십시오.',
  keep: '유지', keep_title: '주석이 올바름', exclude: '제외', exclude_title: '이 영상을 제외', accept: '적용', accept_title: '제안한 라벨로 변경',
  flag: '재확인', flag_title: '다른 사람이 확인하도록 표시', save: '수정 저장', discard: '버리기', next: '다음', previous: '이전',
  reason: '이유', reason_hint: '선택 사항; 아래에서 고를 수 있음', undo: '실행 취소', redo: '다시 실행', side_l: '왼손', side_r: '오른손',
  reasons: ['반지 또는 장신구', '라벨이 서로 바뀜', '윤곽이 부정확함', '겹친 뼈, 올바르게 그려짐', '특이한 해부 구조', '골절 또는 임플란트', '오류 아님: 오탐'],
  finding: '발견', score: '점수 {score}', patient: '환자', person: '{sex}, {age}세, {height} cm, {weight} kg', male: '남', female: '여',
  right: '오른손', left: '왼손', unknown_side: '좌우 모름', whole_image: '영상 전체', proposal: '제안한 라벨', before: '변경 전', after: '변경 후', compare: '비교',
  reference: '참고: {bone}', reference_caption: '이 데이터의 전형적인 손 다섯 개에서 본 같은 뼈.', median_caption: '모든 손의 중앙값에 가장 가까운 손', no_reference: '뼈를 선택하면 전형적인 손과 비교합니다.',
  other_hand: '환자의 다른 손', mirrored: '좌우 반전', no_other: '이 환자의 다른 영상이 없습니다.',
  history: '이 영상에 대한 결정', none_yet: '아직 없음.', undone: '취소됨', by: '{author}', line: '{line}행',
  problems: '주석에 대한 참고', not_in_data: '이 항목의 영상이 데이터에 없습니다.', no_annotation: '이 영상에는 주석이 없습니다.', loading: '불러오는 중…', cannot_show: '영상을 표시할 수 없습니다: {reason}',
  saved_keep: '유지함', saved_exclude: '제외함', saved_accept: '제안대로 변경함', saved_flag: '재확인으로 표시함', saved_side: '좌우 설정함', saved_correct: '수정 저장됨: {count}', undone_decision: '취소함: {what}', redone_decision: '복원함: {what}', nothing_to_undo: '취소할 것이 없습니다.', nothing_to_redo: '다시 실행할 것이 없습니다.',
  no_proposal: '이 항목에는 제안한 라벨이 없습니다.', unsaved_first: '먼저 수정을 저장하거나 버리십시오.', nothing_changed: '바뀐 것이 없습니다.',
  draft_restored: '저장하지 않은 수정을 복원했습니다.', draft_old: '저장하지 않은 수정은 이전 상태의 주석에서 만든 것입니다.', draft_apply: '적용',
  changed_elsewhere: '{author} 님이 이 영상을 판정했습니다: {what}.', look_again: '새 상태 보기', conflict: '저장 안 됨: {reason}',
  who: '이름을 입력하십시오', who_text: '이름은 모든 결정과 함께 저장됩니다.', name: '이름', start: '시작', cancel: '취소', close: '닫기', ok: '확인',
  keep_many: '{count}건을 유지할까요?', keep_many_text: '현재 조건의 항목 중 아직 유지하지 않은 것을 모두 올바름으로 표시합니다: {checks}. 나중에 하나씩 또는 함께 취소할 수 있습니다.', kept_many: '{count}건 유지함',
  help: '단축키와 도구', settings: '단축키', progress: '진행', preset: '단축키 묶음', own: '사용자', conflict_keys: '중복되거나 예약된 키: {keys}', press_key: '키를 누르십시오', keys_saved: '단축키를 저장했습니다.',
  mouse: '마우스', mouse_text: '휠: 커서 위치에서 확대. 끌기: 이동. 클릭: 뼈 선택, 다시 클릭하면 아래 뼈. 오른쪽 버튼 또는 Alt+끌기: 밝기와 대비.',
  judged: '판정', curator: '판정자', agreement: '일치도', both: '둘 다 판정', same: '같음', kappa: '코헨의 카파', undefined: '정의되지 않음', download_html: '요약 (HTML)', download_csv: '요약 (CSV)', total: '합계', copy_link: '링크', link_copied: '이 항목의 링크를 복사했습니다 (이 페이지를 연 브라우저에서 열립니다).',
  tool_select: '선택', tool_vertices: '꼭짓점', tool_pen: '펜', tool_brush: '브러시', tool_eraser: '지우개', tool_swap: '라벨 교환', tool_label: '라벨', tool_drop: '도형 삭제', tool_fit: '전체', tool_focus: '항목 확대', tool_fill: '채우기', tool_hide: '숨기기', tool_solo: '이 뼈만', tool_invert: '반전', tool_levels: '밝기 초기화', tool_names: '이름', tool_export: 'labelme로', tool_import: 'labelme에서', imported: 'labelme 파일에서 읽었습니다. 저장하거나 취소하십시오.', opacity: '불투명도', brightness: '밝기',
  select_first: '먼저 뼈를 클릭하십시오.', hint_select: '', hint_vertices: '꼭짓점을 끌어 옮기고, 변을 클릭해 추가하고, Shift+클릭 또는 Delete로 지웁니다.', hint_pen: '새 윤곽을 따라 클릭하거나 끄십시오. Enter 또는 두 번 클릭으로 닫습니다.', hint_pen_points: '점 {count}개; Enter로 닫고 Backspace로 하나 지웁니다.', hint_pen_done: '윤곽을 다시 그렸습니다.', hint_brush: '칠해서 더합니다. [ 와 ] 로 크기를 바꿉니다.', hint_eraser: '칠해서 지웁니다. [ 와 ] 로 크기를 바꿉니다.', hint_swap: '라벨을 교환할 두 뼈를 클릭하십시오.', hint_swap_second: '{label}: 이제 다른 뼈를 클릭하십시오.', three_points: '윤곽에는 서로 다른 점이 3개 이상 필요합니다.', nothing_left: '남는 것이 없습니다. 도형 삭제를 쓰십시오.', no_server_mask: '브러시에는 서버가 필요하지만 응답하지 않습니다.',
  choose_label: '새 라벨', position: '{x}, {y}', restore_filter: '지우기',
  keys: { next: '다음 항목', previous: '이전 항목', accept: '제안 적용 또는 수정 저장', keep: '유지: 주석이 올바름', exclude: '영상 제외', flag: '다른 사람에게 재확인', save: '수정 저장', undo: '마지막 단계 또는 결정 취소', redo: '다시 실행', reason: '이유 쓰기', compare: '제안 전후 비교', hide: '윤곽 숨기기/보기', solo: '항목의 뼈만', fill: '채우기/윤곽', names: '이름', invert: '명암 반전', fit: '영상 전체', focus: '항목 확대', zoom_in: '확대', zoom_out: '축소', levels: '명암 초기화', select: '선택', vertices: '꼭짓점 편집', pen: '펜으로 다시 그리기', brush: '브러시', eraser: '지우개', smaller: '브러시 작게', larger: '브러시 크게', swap: '두 라벨 교환', label: '라벨 고르기', drop: '꼭짓점 또는 도형 삭제', export: 'labelme 파일로 저장', import: '바뀐 labelme 파일 읽기', search: '찾기', help: '이 도움말' },
  checks: { missing_label: '라벨 없음', duplicate_label: '중복 라벨', unknown_label: '알 수 없는 라벨', self_intersection: '자기 교차', outside_image: '영상 밖', tiny_parts: '작은 조각', several_parts: '여러 조각', swapped_labels: '바뀐 라벨', place: '위치', size: '크기', orientation: '방향', side_order: '좌우 순서', same_side: '같은 쪽', bright_pixels: '밝은 화소', border_strip: '가장자리 띠', mask_size: '마스크 크기', asymmetry: '비대칭', metadata: '환자 정보', near_duplicate: '거의 같은 영상', low_dice: '낮은 Dice', misaligned: '어긋남', unusable: '사용 불가' },
};

/** Texts by language; both have the same keys and placeholders. */
export const LANGUAGES = { en: EN, ko: KO };
const STORE = 'carpus-review-language';

let current = localStorage.getItem(STORE) ?? (navigator.language?.startsWith('ko') ? 'ko' : 'en');
if (!(current in LANGUAGES)) current = 'en';
document.documentElement.lang = current;

/** The code of the language: `en` or `ko`. */
export const language = () => current;

/** Changes the language. */
export function setLanguage(code) {
  current = code;
  localStorage.setItem(STORE, code);
  document.documentElement.lang = code;
}

/** The text of a key with its values: `t('done_of', { done: 3, all: 9 })`. */
export function t(key, values = {}) {
  const text = LANGUAGES[current][key] ?? EN[key] ?? key;
  return typeof text === 'string' ? text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '') : text;
}

/** The name of a check. */
export const checkName = (name) => LANGUAGES[current].checks[name] ?? name.replaceAll('_', ' ');
